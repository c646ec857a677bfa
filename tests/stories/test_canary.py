"""The canary: it sees through the fronts what users see, shares its rounds, and is not counted among users.

It also tests ``gateway/canary``, ``gateway/service/canary.py``, ``gateway/redis_replicas/canary_rounds.py`` and
``gateway/checks/fronts.py``. ``tests/faults`` has fronts that answer wrongly, and a canary that is wrong itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest
import redis
from aiohttp import web

from gateway.access.canary_mark import CanaryMark
from gateway.canary.canary import Canary, Question
from gateway.canary.client import open_front_client
from gateway.service.metrics import Metrics
from gateway.settings import CanarySettings, Live
from tests.conftest import Images, RunningGateway, StartGateway
from tests.serving import serving
from tests.waiting import until

LINKS = {"signed_links": {"keys": {"k": "x" * 32}}}
ADMIN = {"Authorization": "Bearer the-admin-token-of-tests"}


@dataclass
class Front:
    """A proxy before gateways, which can be told to answer something else.

    ``asked`` has the paths of requests, ``echoed`` the request ids that came back in an answer.
    """

    url: str = ""
    gateway: str = ""
    instead: web.Response | None = None
    asked: list[str] = field(default_factory=list)
    echoed: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if self.instead is not None:
            return web.Response(status=self.instead.status, body=self.instead.body, headers=self.instead.headers)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(self.gateway + request.path_qs, headers=request.headers, allow_redirects=False) as response,
        ):
            self.echoed += {request.headers.get("X-Request-Id", "")} & {response.headers["X-Request-Id"]}
            return web.Response(status=response.status, body=await response.read(), headers=response.headers)


@asynccontextmanager
async def running_front() -> AsyncIterator[Front]:
    """Run a front on a free port."""
    front = Front()
    app = web.Application()
    app.router.add_get("/{path:.*}", front.answer)
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


async def console(gateway: RunningGateway) -> dict[str, Any]:
    answer = await gateway.request("GET", "/api/v1/monitoring/console", admin=True)
    data: dict[str, Any] = answer.json()["data"]
    return data


async def light(gateway: RunningGateway) -> dict[str, Any]:
    """The light "from outside" of the console."""
    [found] = [each for each in (await console(gateway))["dependencies"] if each["name"] == "outside"]
    return dict(found)


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
    families = [sample for metric in canary.registry.collect() for sample in metric.samples]
    routes = {
        sample.labels["route"] for sample in families if sample.name == "image_gateway_requests_total" and sample.value
    }
    assert {route for route in routes if not route.startswith("admin:")} == {"canary:short"}
    assert canary.service.metrics.server.recent_errors.newest() == []
    assert redis_client.zcard("image:index:hits") == 0


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
    await until(lambda: len(front.asked) - before >= 8)  # two questions a round
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
    assert canary.service.canary is not None
    assert "sig=" not in text
    assert "x" * 32 not in text


async def test_of_several_workers_without_redis_the_first_asks() -> None:
    canary = CanarySettings(via=("http://127.0.0.1:1",), public="a", private="b")

    async def nothing() -> list[Question]:
        raise AssertionError("the second worker asks")

    async with open_front_client() as client:
        metrics = Metrics()
        asking = Canary(
            canary,
            nothing,
            client,
            CanaryMark(Live("secret")),
            None,
            metrics.canary,
            metrics.registry.background_errors,
        )
        await replace(asking, asks_alone=False).once()
        with pytest.raises(AssertionError):
            await asking.once()
