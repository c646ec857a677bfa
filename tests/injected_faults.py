"""Faults that a test puts in, and what each tool of an operator must say of them.

``tests/stories/test_faults.py`` compares the lights, the problems, the metric of the alert, the advice and the healing,
``tests/web/test_console_causes.py`` the headline in a browser.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from psycopg2.extensions import make_dsn
from pydantic import ValidationError

from gateway_dev.cos_emulator.faults import Cut, Fault, Refuse, Reset
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, JWT_SECRET, SECRET_KEY, Images, RunningGateway, StartGateway
from tests.valve import Valve
from tests.waiting import until

READER: Final = "row_reader"
MANY: Final = 40  # requests: enough for a share
_NO_MEMORY: Final = {"retry_count": 0, "timeout": 5, "memory_cache": {"max_bytes": 0}}


@dataclass
class Scene:
    """A gateway whose requests to COS go through ``valve``. ``postgres_dsn`` is of the owner of the table."""

    gateway: RunningGateway
    images: Images
    cos: CosEmulator
    valve: Valve
    fault: "Injected"
    is_healed: bool = False

    async def heal(self) -> None:
        if not self.is_healed:
            self.is_healed = True
            await self.fault.heal(self)

    async def ask(self, *paths: str, **options: Any) -> list[int]:
        """Return the statuses of requests that are sent together."""
        answers = await asyncio.gather(*(self.gateway.get(path, **options) for path in paths))
        return [answer.status for answer in answers]

    def five_seconds_pass(self) -> None:
        self.gateway.service.diagnostics.history.record(time.time())

    async def problems(self) -> list[dict[str, Any]]:
        """Return the problems in the console."""
        data = (await self.gateway.get("/api/v1/monitoring/console", admin=True)).json()["data"]
        found: list[dict[str, Any]] = data["symptoms"]
        return found

    def refuse(self, action: Any, key: str = "*") -> None:
        self.cos.faults.add(Fault(action=action, key=key, times=None))


Step = Callable[[Scene], Awaitable[object]]


async def _nothing(_: Scene) -> None:
    """Change nothing."""


async def _clear(scene: Scene) -> None:
    scene.cos.faults.clear()


@dataclass(frozen=True)
class Injected:
    """A fault.

    problem, level: the first problem in the console. headline: a pattern of it in English.
    alert: of which the console names the section. metric: a series of that alert which has grown, and its labels.
    advice: words of ``explain`` about the image ``a``, None if it says that the image is served.
    reads_as: the user of Postgres, None: the owner of the table.
    works: a request that works once the fault is over, which is the end of red.
    """

    name: str
    problem: str
    level: str
    headline: str
    alert: str
    metric: tuple[str, Mapping[str, str]]
    inject: Step
    heal: Step
    advice: str | None = None
    reads_as: str | None = None
    works: str = "/i/a"


async def _half_rotated(scene: Scene) -> None:
    await scene.ask("/i/a")
    await scene.gateway.reload(cos={"secret_key": "another-secret-key"})
    assert await scene.ask("/i/b") == [502]


async def _rotated_back(scene: Scene) -> None:
    await scene.gateway.reload(cos={"secret_key": SECRET_KEY})


async def _throttle(scene: Scene) -> None:
    scene.refuse(Refuse(status=429, code="TooManyRequests"))
    assert set(await scene.ask("/i/a", "/i/b")) == {503}


async def _cut(scene: Scene) -> None:
    scene.refuse(Cut(at=1))
    assert set(await scene.ask("/i/a", "/i/b")) == {502}


async def _no_pictures(scene: Scene) -> None:
    assert await scene.ask("/i/a?style=thumb") == [200]


async def _slow(scene: Scene) -> None:
    scene.valve.close()
    began = time.monotonic()
    asked = asyncio.create_task(scene.ask("/i/a", "/i/b", "/i/c"))
    await until(lambda: time.monotonic() - began > 1.1)
    scene.valve.open()
    assert await asked == [200] * 3


async def _no_answer(scene: Scene) -> None:
    scene.refuse(Reset())
    assert set(await scene.ask("/i/a", "/i/b")) == {502}


async def _lose_object(scene: Scene) -> None:
    scene.cos.store.delete(BUCKET, "objects/a.png")
    assert await scene.ask("/i/a") == [404]


async def _find_object(scene: Scene) -> None:
    await scene.images.add("a")


async def _ask_public_port(scene: Scene) -> None:
    question = "/api/v1/changes?since=0&epochs=0&nginx=edge-1"
    assert await scene.ask(question, headers={"Host": "img.example.com"}) == [404]
    assert scene.gateway.sample("nginx_misdirected_total") == 0, "a client"
    assert await scene.ask(question, headers={"Host": "localhost"}) == [404]


async def _drop_column(scene: Scene) -> None:
    await scene.images.execute("ALTER TABLE images RENAME cos_key TO path")
    assert await scene.ask("/i/never-seen") == [503]


async def _add_column(scene: Scene) -> None:
    await scene.images.execute("ALTER TABLE images RENAME path TO cos_key")


async def _refuse_reload(scene: Scene) -> None:
    with pytest.raises(ValidationError):
        await scene.gateway.reload(cos={"bucket": ""})


async def _accept_reload(scene: Scene) -> None:
    await scene.gateway.reload(cos={"bucket": BUCKET})


async def _make_reader(images: Images) -> None:
    await images.execute(
        f"DO $$ BEGIN CREATE ROLE {READER} LOGIN PASSWORD '{READER}'; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    await images.execute(f"GRANT SELECT ON images TO {READER}")


async def _delete_rows(scene: Scene) -> None:
    await scene.images.execute("DELETE FROM images")
    assert set(await scene.ask(*["/i/a"] * MANY)) == {404}


async def _add_rows(scene: Scene) -> None:
    await scene.images.add("a")


async def _hide_rows(scene: Scene) -> None:
    await scene.images.execute("ALTER TABLE images ENABLE ROW LEVEL SECURITY")
    await scene.gateway.request(
        "POST",
        "/api/v1/cache/purge",
        admin=True,
        json={"image_ids": ["a"]},
        headers={"Authorization": f"Bearer {scene.gateway.sections['admin']['token']}"},
    )
    assert set(await scene.ask(*["/i/a"] * MANY)) == {404}


async def _show_rows(scene: Scene) -> None:
    await scene.images.execute("ALTER TABLE images DISABLE ROW LEVEL SECURITY")


async def _another_secret(scene: Scene) -> None:
    await scene.gateway.reload(access={"jwt": {"secret": "the-secret-of-another-environment-32"}})
    assert set(await scene.ask(*["/i/hers"] * MANY, user="alice")) == {401}


async def _own_secret(scene: Scene) -> None:
    await scene.gateway.reload(access={"jwt": {"secret": JWT_SECRET}})


_ERRORS: Final = "origin_errors_total"
FAULTS: Final = (
    Injected(
        "key half rotated",
        "cos_refuses",
        "bad",
        "^COS refuses: SignatureDoesNotMatch since ",
        "ImageGatewayOriginRefuses",
        (_ERRORS, {"bucket": BUCKET, "code": "SignatureDoesNotMatch"}),
        _half_rotated,
        _rotated_back,
        advice="cos.secret_key",
        works="/i/b",
    ),
    Injected(
        "COS throttles",
        "cos_errors",
        "bad",
        "^COS fails: TooManyRequests since ",
        "ImageGatewayOriginFailing",
        (_ERRORS, {"bucket": BUCKET, "code": "TooManyRequests"}),
        _throttle,
        _clear,
        advice="COS asks for fewer requests",
    ),
    Injected(
        "bodies are cut",
        "cos_errors",
        "bad",
        "^COS fails: bodies break off since ",
        "ImageGatewayOriginFailing",
        (_ERRORS, {"bucket": BUCKET, "code": "body_lost"}),
        _cut,
        _clear,
    ),
    Injected(
        "COS does not answer",
        "cos_errors",
        "bad",
        "^COS fails: no answer since ",
        "ImageGatewayOriginFailing",
        (_ERRORS, {"bucket": BUCKET, "code": "no_answer"}),
        _no_answer,
        _clear,
        advice="the network from here to COS",
    ),
    Injected(
        "objects that are no pictures",
        "objects_unprocessable",
        "warning",
        "^COS cannot process some objects: InvalidImageFormat since ",
        "ImageGatewayObjectsUnprocessable",
        (_ERRORS, {"bucket": BUCKET, "code": "InvalidImageFormat"}),
        _no_pictures,
        _nothing,
    ),
    Injected(
        "a bucket answers in seconds",
        "bucket_slow",
        "warning",
        rf"^3 of 3 answers of the bucket {BUCKET} took more than a second to begin\. since ",
        "ImageGatewayBucketSlow",
        ("origin_slow_total", {"bucket": BUCKET}),
        _slow,
        _nothing,
    ),
    Injected(
        "object deleted",
        "objects_missing",
        "warning",
        "^Rows name objects that COS does not have: NoSuchKey since ",
        "ImageGatewayObjectsMissing",
        (_ERRORS, {"bucket": BUCKET, "code": "NoSuchKey"}),
        _lose_object,
        _find_object,
        advice="names an object that is not in the bucket",
    ),
    Injected(
        "rows hidden by row level security",
        "dependency_degraded",
        "warning",
        r"^postgres refuses a part of the requests\. .*row level security.* since ",
        "ImageGatewayDependencyDown",
        ("requests_total", {"route": "short", "delivery": "none", "status": "404"}),
        _hide_rows,
        _show_rows,
        reads_as=READER,
    ),
    Injected(
        "rows gone",
        "answers_mostly",
        "warning",
        r"^100 % of the requests for images get 404\. since ",
        "ImageGatewayAnswersChanged",
        ("requests_total", {"route": "short", "delivery": "none", "status": "404"}),
        _delete_rows,
        _add_rows,
        advice="",
    ),
    Injected(
        "JWT secret of another environment",
        "answers_mostly",
        "warning",
        r"^100 % of the requests for images get 401\. since ",
        "ImageGatewayAnswersChanged",
        ("requests_total", {"route": "short", "delivery": "none", "status": "401"}),
        _another_secret,
        _own_secret,
    ),
    Injected(
        "nginx asks the wrong port",
        "nginx_asks_wrong_port",
        "bad",
        "^An nginx asks the public port for changes: it must ask the admin port. since ",
        "ImageGatewayNginxAsksWrongPort",
        ("nginx_misdirected_total", {}),
        _ask_public_port,
        _nothing,
    ),
    Injected(
        "column renamed",
        "dependency_down",
        "bad",
        r"^postgres does not answer\. .*cos_key.* since ",
        "ImageGatewayDependencyDown",
        ("catalog_queries_total", {"result": "error"}),
        _drop_column,
        _add_column,
    ),
    Injected(
        "reload refused",
        "reload_refused",
        "warning",
        "^The last reload was refused, and the old configuration stays: the log names each mistake. since ",
        "ImageGatewayConfigReloadFailed",
        ("config_last_reload_success_timestamp_seconds", {}),
        _refuse_reload,
        _accept_reload,
    ),
)


@asynccontextmanager
async def scene_of(
    fault: Injected, start_gateway: StartGateway, images: Images, cos: CosEmulator, postgres_dsn: str
) -> AsyncIterator[Scene]:
    """Yield a gateway with three public images and an image of alice. A fault that is put in ends with the scene."""
    settings = {}
    if fault.reads_as is not None:
        await _make_reader(images)
        settings["postgres"] = {"dsn": make_dsn(postgres_dsn, user=fault.reads_as, password=fault.reads_as)}
    async with Valve.before(cos.port) as valve:
        for image_id in ("a", "b", "c"):
            await images.add(image_id)
        await images.add("hers", owner="alice", public=False)
        gateway = await start_gateway(
            cos={"domain": f"127.0.0.1:{valve.port}"},
            image_proxy=_NO_MEMORY,
            image_styles={"thumb": "imageMogr2/thumbnail/10x"},
            **settings,
        )
        scene = Scene(gateway, images, cos, valve, fault)
        try:
            yield scene
        finally:
            await scene.heal()
