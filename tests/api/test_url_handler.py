"""The handler of presigned URLs: no round trip for a cached one, and the same answer from both ways of a request."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gateway_dev.redis_server import RedisServer
from tests.conftest import Images, RunningGateway, StartGateway

# Fields that differ between any two requests.
OWN = {"x-request-id", "server-timing", "date", "content-length"}


@pytest.mark.parametrize("user", [None, "alice"])
async def test_an_address_that_the_router_decodes_gets_the_same_answer(
    gateway: RunningGateway, images: Images, user: str | None
) -> None:
    await images.add("cat", owner="alice", public=user is None)
    direct = await gateway.get("/api/v1/images/cat/url", user=user)
    routed = await gateway.get("/api/v1/images/%63at/url", user=user)
    assert (direct.status, routed.status) == (200, 200)
    assert {**direct.json()["data"], "from_cache": True, "access_count": 2} == routed.json()["data"]
    assert {name: value for name, value in direct.headers.items() if name.lower() not in OWN} == {
        name: value for name, value in routed.headers.items() if name.lower() not in OWN
    }
    assert direct.headers["Content-Type"] == "application/json"
    assert direct.headers["Cache-Control"] == "no-store"
    assert direct.headers["Access-Control-Allow-Origin"] == "*"
    assert gateway.sample("requests_total", route="url", delivery="none", status="200") == 2


@pytest.mark.parametrize("path", ["/api/v1/images/cat/url", "/api/v1/images/%63at/url"])
async def test_errors_are_the_same_either_way(gateway: RunningGateway, images: Images, path: str) -> None:
    await images.add("cat", owner="alice", public=False)
    assert (await gateway.request("HEAD", path)).status == 405
    assert (await gateway.request("POST", path)).status == 405
    hidden = await gateway.get(path, user="bob")
    assert (hidden.status, hidden.json()["code"]) == (404, "image_not_found")
    bad = await gateway.get(path, headers={"Authorization": "Bearer forged"})
    assert (bad.status, bad.json()["code"]) == (401, "unauthorized")
    assert (await gateway.get(path, user="alice")).json()["data"]["image_id"] == "cat"


async def test_a_cached_url_needs_no_round_trip(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await images.add("cat")
    await gateway.get("/api/v1/images/cat/url")
    redis_client.config_resetstat()
    counts = [(await gateway.get("/api/v1/images/cat/url")).json()["data"]["access_count"] for _ in range(50)]
    assert counts == list(range(2, 52))
    stats = redis_client.info("commandstats")
    reads = {name: stats[name]["calls"] for name in ("cmdstat_mget", "cmdstat_zmscore", "cmdstat_get") if name in stats}
    # A notification may arrive late, and flushes run in the background; none of these is for each request.
    assert sum(reads.values()) < 10, reads
    assert "cmdstat_zscore" not in stats
    assert gateway.sample("catalog_queries_total", result="found") < 10


async def test_the_count_includes_the_uses_of_other_replicas_before_it_was_read(
    start_gateway: StartGateway, images: Images
) -> None:
    await images.add("cat")
    first, other = await start_gateway(), await start_gateway()
    for _ in range(3):
        await first.get("/i/cat")
    await first.flush_uses()
    assert (await other.get("/api/v1/images/cat/url")).json()["data"]["access_count"] == 4
    assert (await other.get("/api/v1/images/cat/url")).json()["data"]["access_count"] == 5


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for only this test, to be broken."""
    with RedisServer(tmp_path / "redis", ephemeral=True) as server:
        yield server


async def test_the_count_goes_on_without_redis(
    start_gateway: StartGateway, images: Images, own_redis: RedisServer
) -> None:
    gateway = await start_gateway(redis={"url": own_redis.url})
    await images.add("cat")
    await asyncio.to_thread(own_redis.kill)
    counts = [(await gateway.get("/api/v1/images/cat/url")).json()["data"]["access_count"] for _ in range(3)]
    assert counts == [1, 2, 3]
