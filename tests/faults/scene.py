"""A gateway for a fault, and what a fault consists of."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway.findings.catalogue import CATALOGUE
from gateway_dev.cos_emulator.faults import Fault
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway
from tests.kept_table import hash_password_once
from tests.processes import run_gateway
from tests.valve import Valve

BEARER: Final = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
MANY: Final = 40  # requests: enough for a share
Sections = dict[str, dict[str, Any]]


@dataclass
class Scene:
    """A gateway whose requests to COS go through ``valve``.

    stack: what a fault opens, which ends with the scene.
    kept: what ``prepare`` leaves for the fault.
    """

    fault: "Injected"
    request: pytest.FixtureRequest
    images: Images
    cos: CosEmulator
    valve: Valve
    folder: Path
    stack: AsyncExitStack
    start_gateway: StartGateway
    settings: Sections = field(init=False)
    gateway: RunningGateway = field(init=False)
    kept: Any = None
    injected: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    async def start(self, **changes: Mapping[str, Any]) -> None:
        """Start a gateway, in place of one that runs."""
        before = getattr(self, "gateway", None)
        sections = self.settings | changes
        self.gateway = await self.start_gateway(
            **{name: self.settings.get(name, {}) | dict(changes.get(name, {})) for name in sections}
        )
        if before is not None:
            await before.close()

    async def inject(self) -> None:
        await self.injected.enter_async_context(self.fault.work(self))

    async def heal(self) -> None:
        await self.injected.aclose()

    async def ask(self, *paths: str, **options: Any) -> list[int]:
        """Return the statuses of requests that are sent together."""
        answers = await asyncio.gather(*(self.gateway.get(path, **options) for path in paths))
        return [answer.status for answer in answers]

    def five_seconds_pass(self) -> None:
        self.gateway.service.diagnostics.replica.history.record(time.time())

    async def probed_problems(self) -> list[tuple[str, str]]:
        """Probe the dependencies, and return the names and levels of the problems in the console."""
        await self.gateway.service.diagnostics.health.probe_all()
        return [(problem["name"], problem["level"]) for problem in await self.problems()]

    async def problems(self) -> list[dict[str, Any]]:
        """Return the problems in the console."""
        data = (await self.gateway.get("/api/v1/monitoring/console", admin=True)).json()["data"]
        found: list[dict[str, Any]] = data["symptoms"]
        return found

    async def metrics(self) -> str:
        """Return what Prometheus reads."""
        return (await self.gateway.get("/metrics", admin=True)).body.decode()

    async def explained(self) -> Mapping[str, Any]:
        """Return the verdict of ``explain`` on the image that works again after the fault."""
        image_id = self.fault.works.removeprefix("/i/")
        path = f"/api/v1/monitoring/explain/{image_id}"
        answer = await self.gateway.request("GET", path, admin=True, headers=BEARER)
        found: Mapping[str, Any] = answer.json()["data"]["verdict"]
        return found

    async def purge(self, *image_ids: str) -> None:
        purged = {"image_ids": list(image_ids)}
        await self.gateway.request("POST", "/api/v1/cache/purge", admin=True, json=purged, headers=BEARER)

    async def check(self) -> str:
        """Return the findings of ``check`` that are not well, each with its advice."""
        config = self.folder / "gateway.yaml"
        # The command has one try, which is not late on a busy machine.
        patient = {name: {**self.gateway.sections[name], "timeout": 3} for name in ("redis", "postgres")}
        await asyncio.to_thread(config.write_text, yaml.safe_dump(self.gateway.sections | patient))
        _, output = await run_gateway("check", "--config", str(config))
        findings = re.split(r"^(?=ok|warn|fail)", output, flags=re.MULTILINE)
        return "".join(finding for finding in findings if finding.startswith(("warn", "fail")))

    def refuse(self, action: Any, key: str = "*") -> None:
        self.cos.faults.add(Fault(action=action, key=key, times=None))


async def nothing(_: Scene) -> None:
    """Change nothing."""


async def as_usual(_: Scene) -> Sections:
    """Change no settings."""
    return {}


@dataclass(frozen=True)
class Injected:
    """A fault.

    problem: the first problem in the console, of which the catalogue has the alert.
    work: puts the fault in, and ends it.
    begin: what is done as soon as the gateway runs.
    light: a check of ``/readyz``, its state, and words of its reason. None: the console alone shows the fault.
    check: words of the findings of ``check``.
    remedy: words of what ``/readyz`` says to do about it.
    advice: words of ``explain`` about the image of ``works``, None if it says that the image is served.
    headline: a pattern of what the finding says, which is the headline of the console if it is the worst one.
    prepare: returns the settings of the gateway, and may open what it needs.
    uses: fixtures of servers.
    lasts: points of five seconds for which the console shows it.
    is_alarming: whether the alert fires.
    works: a request that works once the fault is over, which is the end of red.
    """

    name: str
    problem: str
    work: Callable[[Scene], AbstractAsyncContextManager[None]]
    _: KW_ONLY
    begin: Callable[[Scene], Awaitable[None]] = nothing
    light: tuple[str, str, str] | None = None
    check: tuple[str, ...] = ()
    remedy: str = ""
    advice: str | None = None
    headline: str = ""
    prepare: Callable[[Scene], Awaitable[Sections]] = as_usual
    uses: tuple[str, ...] = ()
    lasts: int = 60
    is_alarming: bool = True
    works: str = "/i/a"

    @property
    def level(self) -> str:
        """The colour of the problem."""
        return CATALOGUE[self.problem].level


Work = Callable[[Scene], AsyncIterator[None]]


def fault(faults: list[Injected], name: str, problem: str, **shown: Any) -> Callable[[Work], None]:
    """Add a fault to ``faults``: the decorated function puts it in, yields, and ends it."""
    return lambda work: faults.append(Injected(name, problem, asynccontextmanager(work), **shown))


_SETTINGS: Final[Sections] = {
    "image_proxy": {"retry_count": 0, "timeout": 5, "memory_cache": {"max_bytes": 0}},
    "image_styles": {"thumb": "imageMogr2/thumbnail/10x"},
    "redis": {"timeout": 1},
    "postgres": {"timeout": 2},
}


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, start_gateway: StartGateway, images: Images, cos: CosEmulator, tmp_path: Path
) -> AbstractAsyncContextManager[Scene]:
    """The scene of a fault, which opens in the event loop of the test. Its servers start before."""
    fault: Injected = request.param
    for name in fault.uses:
        request.getfixturevalue(name)
    return _opened(fault, request, start_gateway, images, cos, tmp_path)


@asynccontextmanager
async def _opened(
    fault: Injected,
    request: pytest.FixtureRequest,
    start_gateway: StartGateway,
    images: Images,
    cos: CosEmulator,
    folder: Path,
) -> AsyncIterator[Scene]:
    """Yield a gateway with three public images and an image of alice. A fault that is put in ends with the scene."""
    async with AsyncExitStack() as stack, Valve.before(cos.port) as valve:
        scene = Scene(fault, request, images, cos, valve, folder, stack, start_gateway)
        changed = await fault.prepare(scene)
        for image_id in ("a", "b", "c"):
            await scene.images.add(image_id)
        await scene.images.add("hers", owner="alice", public=False)
        usual: Sections = {"cos": {"domain": f"127.0.0.1:{valve.port}"}, **_SETTINGS}
        scene.settings = {name: usual.get(name, {}) | changed.get(name, {}) for name in usual | changed}
        await scene.start()
        await fault.begin(scene)
        try:
            yield scene
        finally:
            await scene.heal()
            await scene.gateway.close()


@pytest.fixture(scope="session")
def mortal_postgres(server_folder: Path) -> Iterator[PostgresServer]:
    """A Postgres with the table, to be broken. It takes longer to make than all faults of it."""
    with PostgresServer(server_folder / "mortal-postgres", ephemeral=True) as server:
        hash_password_once(server.dsn, server.password)
        ImagesTable(server.dsn).create()
        yield server
