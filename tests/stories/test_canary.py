"""The canary: it sees through the fronts what users see, shares its rounds, and is not counted among users.

It also tests ``gateway/canary``, ``gateway/service/canary.py``, ``gateway/redis_replicas/canary_rounds.py`` and
``gateway/checks/fronts.py``. ``tests/faults`` has fronts that answer wrongly, and a canary that is wrong itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg2
import pytest
import redis
from aiohttp import web
from psycopg2.extensions import make_dsn

from gateway.canary.canary import Canary
from gateway.canary.change import NewBytesProbe
from gateway.canary.client import open_front_client
from gateway.canary.rules import Known
from gateway.catalog.sql_files import canary_sql
from gateway.metrics.canary import CanaryOutcome, Check
from gateway.redis_replicas.canary_rounds import CanaryRounds
from gateway.service.metrics import Metrics
from gateway.settings import CanaryRowSettings, CanarySettings, PostgresSettings
from tests.conftest import BUCKET, JWT_SECRET, SECRET_ID, SECRET_KEY, Images, RunningGateway, StartGateway, token_for
from tests.reload.proofs import proves
from tests.serving import serving
from tests.waiting import until

LINKS = {"signed_links": {"keys": {"k": "x" * 32}}}
ADMIN = {"Authorization": "Bearer the-admin-token-of-tests"}


@dataclass
class Front:
    """A proxy before gateways, which can be told to answer something else.

    ``drops`` is a field of requests that it does not pass on, ``keeps`` are statuses of answers that it keeps by their
    address until it is purged.
    ``asked`` has the paths of requests, ``cookies`` the names of their cookies.
    ``echoed`` has the request ids that came back in an answer.
    """

    url: str = ""
    gateway: str = ""
    instead: web.Response | None = None
    drops: str = ""
    keeps: frozenset[int] = frozenset()
    kept: dict[str, tuple[int, bytes, Mapping[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cookies: set[str] = field(default_factory=set)
    echoed: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        self.cookies |= request.cookies.keys()
        if self.instead is not None:
            return web.Response(status=self.instead.status, body=self.instead.body, headers=self.instead.headers)
        if request.path_qs in self.kept:
            status, body, fields = self.kept[request.path_qs]
            return web.Response(status=status, body=body, headers=fields)
        headers = {name: value for name, value in request.headers.items() if name != self.drops}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(self.gateway + request.path_qs, headers=headers, allow_redirects=False) as response,
        ):
            self.echoed += {request.headers.get("X-Request-Id", "")} & {response.headers["X-Request-Id"]}
            body = await response.read()
            if response.status in self.keeps:
                self.kept[request.path_qs] = response.status, body, response.headers
            return web.Response(status=response.status, body=body, headers=response.headers)

    async def forget(self, _: web.Request) -> web.Response:
        """Purge everything."""
        self.kept.clear()
        return web.Response()


@asynccontextmanager
async def running_front() -> AsyncIterator[Front]:
    """Run a front on a free port."""
    front = Front()
    app = web.Application()
    app.router.add_get("/{path:.*}", front.answer)
    app.router.add_post("/purge", front.forget)
    async with serving(app) as front.url:
        yield front


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    """The front of a test."""
    async with running_front() as front:
        yield front


@pytest.fixture
async def two_images(images: Images) -> None:
    """The images that the canary asks for."""
    await images.add("public")
    await images.add("private", owner="alice", public=False)


@pytest.fixture
async def canary(start_gateway: StartGateway, two_images: None, links_table: object, front: Front) -> RunningGateway:
    """A gateway behind the front, with a canary that has succeeded."""
    del two_images, links_table
    gateway = await start_gateway(canary=settings(front), access=LINKS)
    front.gateway = gateway.ports.public
    await until(lambda: up(gateway, front) == {"public": 1, "private_anonymous": 1, "private_link": 1})
    return gateway


def settings(front: Front) -> dict[str, Any]:
    return {"via": [front.url], "public": "public", "private": "private", "every": 1}


def up(gateway: RunningGateway, front: Front) -> dict[str, float]:
    """The value of the metric by check."""
    found = {
        check: gateway.registry.get_sample_value("image_gateway_canary_up", {"via": front.url, "check": check})
        for check in ("public", "private_anonymous", "private_link")
    }
    return {check: value for check, value in found.items() if value is not None}


def is_up(gateway: RunningGateway, front: Front, check: str) -> float | None:
    return gateway.registry.get_sample_value("image_gateway_canary_up", {"via": front.url, "check": check})


async def console(gateway: RunningGateway) -> dict[str, Any]:
    answer = await gateway.request("GET", "/api/v1/monitoring/console", admin=True)
    data: dict[str, Any] = answer.json()["data"]
    return data


async def light(gateway: RunningGateway) -> dict[str, Any]:
    """The light "from outside" of the console."""
    [found] = [each for each in (await console(gateway))["dependencies"] if each["name"] == "outside"]
    return dict(found)


def routes_asked(gateway: RunningGateway) -> set[str]:
    """Return the routes of the requests to the public port."""
    samples = [sample for metric in gateway.registry.collect() for sample in metric.samples]
    asked = [sample for sample in samples if sample.name == "image_gateway_requests_total" and sample.value]
    return {sample.labels["route"] for sample in asked if not sample.labels["route"].startswith("admin:")}


async def test_a_front_that_works_is_one_green_light_and_a_line_of_explain(
    canary: RunningGateway, front: Front
) -> None:
    assert (await light(canary))["state"] == "ok"
    assert (await console(canary))["symptoms"] == []
    assert canary.sample("canary_seconds", via=front.url) > 0
    explained = await canary.request("GET", "/api/v1/monitoring/explain/public", admin=True, headers=ADMIN)
    assert explained.json()["data"]["from_outside"][front.url]["public"].startswith("ok: 200 with the image")


async def test_the_canary_is_not_counted_among_users(
    canary: RunningGateway, front: Front, redis_client: "redis.Redis"
) -> None:
    await until(lambda: len(front.asked) > 6)  # a whole round more
    assert routes_asked(canary) == {"canary:short"}
    assert canary.service.metrics.server.recent_errors.newest() == []
    assert redis_client.zcard("image:index:hits") == 0


async def test_a_gateway_without_a_secret_that_others_share_knows_its_own_canary(
    start_gateway: StartGateway, two_images: None, front: Front, tmp_path: Path
) -> None:
    del two_images
    (file := tmp_path / "cos.json").write_text(json.dumps({"secret_id": SECRET_ID, "secret_key": SECRET_KEY}))
    source = {"source": "file", "path": str(file)}
    cos = {"secret_id": None, "secret_key": None, "credentials": source}
    gateway = await start_gateway(canary=settings(front), url_cache={"enabled": False}, cos=cos)
    front.gateway = gateway.ports.public
    await until(lambda: up(gateway, front) == {"public": 1, "private_anonymous": 1})
    assert routes_asked(gateway) == {"canary:short"}


async def test_no_answer_has_the_mark_by_which_a_user_could_pass_for_the_canary(
    canary: RunningGateway, front: Front
) -> None:
    """A cache in front sends what the canary has fetched to everybody."""
    del canary
    assert len(front.asked) >= 3
    assert front.echoed == []


async def test_a_front_that_sends_private_images_to_everybody_is_a_red_light(
    canary: RunningGateway, front: Front
) -> None:
    check = "private_anonymous"
    front.instead = web.Response(body=b"bytes of an image", content_type="image/png")
    await until(lambda: up(canary, front)[check] == 0)
    seen = await light(canary)
    assert seen["state"] == "down"
    assert "gets a private image" in seen["reason"]
    symptoms = {(each["name"], each["values"]["check"]) for each in (await console(canary))["symptoms"]}
    assert ("canary_fails", check) in symptoms
    front.instead = None
    await until(lambda: up(canary, front)[check] == 1)
    assert (await light(canary))["state"] == "ok"


async def test_a_link_that_does_not_open_is_seen_from_outside(
    canary: RunningGateway, start_gateway: StartGateway, front: Front
) -> None:
    """The front leads to a gateway with other keys of links."""
    other = await start_gateway(access={"signed_links": {"keys": {"other": "y" * 32}}})
    front.gateway = other.ports.public
    await until(lambda: up(canary, front) == {"public": 1, "private_anonymous": 1, "private_link": 0})
    assert "401 instead of 200" in (await light(canary))["reason"]


@pytest.mark.usefixtures("two_images")
async def test_gateways_share_the_rounds(start_gateway: StartGateway, front: Front) -> None:
    gateways = [await start_gateway(canary=settings(front)) for _ in range(4)]
    front.gateway = gateways[0].ports.public
    await until(lambda: all(up(gateway, front).get("public") == 1 for gateway in gateways))
    before, started = len(front.asked), asyncio.get_running_loop().time()
    await until(lambda: len(front.asked) - before >= 12)  # two questions a round
    # Four gateways that asked for themselves would take a round's time for this.
    assert asyncio.get_running_loop().time() - started > 2


@pytest.mark.usefixtures("two_images")
@pytest.mark.parametrize(
    "changes",
    [{"image_proxy": {"delivery": "redirect"}}, {"url_cache": {"enabled": False}}],
    ids=["redirect", "no Redis"],
)
async def test_a_redirect_to_cos_is_followed_and_without_redis_a_gateway_asks_for_itself(
    start_gateway: StartGateway, front: Front, changes: dict[str, dict[str, Any]]
) -> None:
    gateway = await start_gateway(canary=settings(front), **changes)
    front.gateway = gateway.ports.public
    await until(lambda: up(gateway, front) == {"public": 1, "private_anonymous": 1})


async def test_the_round_in_redis_has_neither_signature_nor_secret(
    canary: RunningGateway, redis_client: "redis.Redis"
) -> None:
    [key] = list(redis_client.scan_iter("image:canary:*:round"))
    text = json.dumps(json.loads(redis_client.get(key) or b""))
    assert "sig=" not in text
    assert "x" * 32 not in text


async def test_of_several_workers_without_redis_the_first_asks() -> None:
    async def ask(proven: frozenset[Check]) -> list[CanaryOutcome]:
        raise AssertionError(f"the second worker asks, {proven}")

    metrics = Metrics()
    asking = Canary("answers", 10, ask, None, metrics.canary, metrics.registry.background_errors)
    await replace(asking, asks_alone=False).once()
    with pytest.raises(AssertionError):
        await asking.once()


async def test_a_failure_that_is_over_seconds_later_is_not_shown_until_the_next_round() -> None:
    """With a round every five minutes, a blip would alarm for so long. A failure that stays is asked for once."""
    rounds = [([True], True), ([False, True], True), ([False, False], False), ([False], False), ([True], True)]
    metrics, answers = Metrics(), iter([answer for answers, _ in rounds for answer in answers])

    async def ask(proven: frozenset[Check]) -> list[CanaryOutcome]:
        return [CanaryOutcome("https://front", "public", next(answers), f"answered, {proven}")]

    canary = Canary("answers", 300, ask, None, metrics.canary, metrics.registry.background_errors, pause=0)
    for number, (_, is_up) in enumerate(rounds):
        await canary.once()
        assert [outcome.is_up for outcome in metrics.canary.latest] == [is_up], number
    assert next(answers, None) is None


async def test_the_turn_lasts_until_a_failure_was_asked_for_again(
    gateway: RunningGateway, front: Front, redis_client: "redis.Redis"
) -> None:
    assert gateway.service.stores.redis is not None
    rounds = CanaryRounds(gateway.service.stores.redis.shards, CanarySettings.model_validate(settings(front)))
    metrics, are_free = Metrics(), list[bool]()

    async def ask(proven: frozenset[Check]) -> list[CanaryOutcome]:
        """Fail after the end of the turn."""
        del proven
        are_free.append(await rounds.claim(60))
        await asyncio.to_thread(redis_client.flushdb)
        return [CanaryOutcome(front.url, "public", False, "502 instead of 200")]

    await Canary("answers", 10, ask, rounds, metrics.canary, metrics.registry.background_errors, pause=0).once()
    assert are_free == [False, False]


@proves("canary")
@pytest.mark.usefixtures("two_images")
async def test_a_reload_takes_a_changed_canary_and_ends_it(start_gateway: StartGateway, front: Front) -> None:
    gateway = await start_gateway()
    front.gateway = gateway.ports.public
    assert (await gateway.reload(canary=settings(front))).changed == ("canary",)
    await until(lambda: up(gateway, front) == {"public": 1, "private_anonymous": 1})
    async with running_front() as other:
        other.gateway = gateway.ports.public
        await gateway.reload(canary=settings(other))
        await until(lambda: up(gateway, other) == {"public": 1, "private_anonymous": 1})
    assert up(gateway, front) == {}


@pytest.mark.usefixtures("two_images")
async def test_after_a_reload_the_canary_asks_with_the_cookie_of_now(
    start_gateway: StartGateway, front: Front, tmp_path: Path
) -> None:
    """By the former name, the front would seem to drop the cookie."""
    token = tmp_path / "token"
    token.write_text(token_for("alice"))
    jwt = {"secret": JWT_SECRET, "cookie": "session"}
    gateway = await start_gateway(canary={**settings(front), "token_file": str(token)}, access={"jwt": jwt})
    front.gateway = gateway.ports.public
    await until(lambda: is_up(gateway, front, "private_token") == 1)
    await gateway.reload(access={"jwt": {**jwt, "cookie": "sid"}})
    await until(lambda: front.cookies == {"session", "sid"}, what="the cookie with the new name")


TABLE_ANEW: Final = (
    "CREATE TABLE copied (LIKE images INCLUDING ALL); INSERT INTO copied SELECT * FROM images; "
    "DROP TABLE images; ALTER TABLE copied RENAME TO images"
)
CHANGE: Final[dict[str, Any]] = {"id": "changing", "keys": ["changing/1.png", "changing/2.png"]}


def function_sql(dsn: str) -> str:
    """Return what ``sql canary`` prints for the user of that DSN, for a cursor that has parameters."""
    settings = PostgresSettings.model_validate({"dsn": dsn})
    return canary_sql(settings, CanaryRowSettings.model_validate(CHANGE)).replace("%", "%%")


@pytest.fixture
async def changing(
    start_gateway: StartGateway, images: Images, two_images: None, front: Front, postgres_dsn: str
) -> RunningGateway:
    """A gateway behind the front, with a canary that has changed its row."""
    del two_images
    await images.add("changing", b"the first picture", key=CHANGE["keys"][0])
    images.cos.store.put(BUCKET, CHANGE["keys"][1], b"the second picture", content_type="image/png")
    await images.execute(await asyncio.to_thread(function_sql, postgres_dsn))
    gateway = await start_gateway(canary={**settings(front), "change": CHANGE})
    front.gateway = gateway.ports.public
    await until(lambda: is_up(gateway, front, "change") == 1)
    return gateway


async def test_a_change_comes_through_the_front(changing: RunningGateway, front: Front) -> None:
    assert changing.sample("canary_change_seconds", via=front.url) < 3
    assert (await light(changing))["state"] == "ok"


async def test_a_front_that_ignores_purges_is_seen_by_a_change(changing: RunningGateway, front: Front) -> None:
    front.keeps = frozenset({200})
    await until(lambda: is_up(changing, front, "change") == 0)
    assert "the front ignores purges" in (await light(changing))["reason"]


@pytest.mark.parametrize("fault", ["table created anew", "deaf gateway behind it"])
async def test_a_change_that_a_purged_front_does_not_show_is_found(
    start_gateway: StartGateway, images: Images, changing: RunningGateway, front: Front, fault: str
) -> None:
    """The front keeps images until it is purged."""
    purge = {"target": "webhook", "url": f"{front.url}/purge", "base_urls": [front.url]}
    usual = {"canary": {**changing.sections["canary"], "every": 2}, "purge": purge}
    await changing.close()
    gateway = await start_gateway(**usual)
    front.gateway, front.keeps = gateway.ports.public, frozenset({200})
    await until(lambda: is_up(gateway, front, "change") == 1)
    async with AsyncExitStack() as stack:
        if fault == "table created anew":
            await images.execute(TABLE_ANEW)
            stack.push_async_callback(asyncio.to_thread, images.table.create)
        else:
            deaf = {"postgres": {"listen": False}, "redis": {"prefix": "other:"}, "url_prerefresh": {"enabled": False}}
            front.gateway = (await start_gateway(**deaf)).ports.public
        await until(lambda: is_up(gateway, front, "change") == 0)
        assert "a gateway behind it does not hear of changes" in (await light(gateway))["reason"]
        await gateway.close()


async def test_a_row_that_another_process_changes_meanwhile_shows_nothing_of_the_front(front: Front) -> None:
    front.instead = web.Response(body=b"x", content_type="image/png", headers={"ETag": '"a"'})
    etags = iter(['"a"', '"b"', '"a"', '"a"', '"b"', '"b"'])

    async def known() -> Known:
        return Known("public", 1, next(etags))

    async def touch() -> None:
        """Change nothing: the front sends the old bytes all the time."""

    async with open_front_client(lambda: "request-id") as client:
        change = NewBytesProbe([front.url], "/i/changing", known, touch, client, within=0.1)
        assert [outcome.is_up for outcome in await change.ask(frozenset())] == [None]
        assert [outcome.is_up for outcome in await change.ask(frozenset())] == [False]


async def test_the_function_of_the_canary_changes_its_row_alone_and_a_role_without_it_gets_one_line(
    start_gateway: StartGateway, images: Images, two_images: None, front: Front, postgres_dsn: str
) -> None:
    del two_images
    dsn = make_dsn(postgres_dsn, user="toucher", password="toucher")
    await images.add("changing", key=CHANGE["keys"][0])
    create = "CREATE ROLE toucher LOGIN PASSWORD 'toucher'; GRANT SELECT ON images TO toucher"
    await images.execute(create)
    try:
        gateway = await start_gateway(canary={**settings(front), "change": CHANGE}, postgres={"dsn": dsn})
        front.gateway = gateway.ports.public
        await images.execute("DROP FUNCTION IF EXISTS image_gateway_touch()")

        async def says(words: str) -> bool:
            lights = [each for each in (await console(gateway))["dependencies"] if each["name"] == "outside"]
            return bool(lights) and words in (lights[0]["reason"] or "")

        await until(lambda: says("run what `image-gateway-admin sql canary` prints"))
        await images.execute(await asyncio.to_thread(function_sql, dsn))
        before = await asyncio.to_thread(rows, postgres_dsn)
        with closing(await asyncio.to_thread(psycopg2.connect, dsn)) as connection:
            cursor = connection.cursor()
            await asyncio.to_thread(cursor.execute, "SELECT image_gateway_touch()")
            connection.commit()
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                await asyncio.to_thread(cursor.execute, "UPDATE images SET cos_key = 'x' WHERE id = 'changing'")
        after = await asyncio.to_thread(rows, postgres_dsn)
        assert {image_id for image_id, key in after.items() if key != before[image_id]} == {"changing"}
        await gateway.close()
    finally:
        await images.execute("DROP FUNCTION IF EXISTS image_gateway_touch(); DROP OWNED BY toucher; DROP ROLE toucher")


def rows(dsn: str) -> dict[str, str]:
    """Return the key of each image."""
    with closing(psycopg2.connect(dsn)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT id, cos_key FROM images")
        return dict(cursor.fetchall())
