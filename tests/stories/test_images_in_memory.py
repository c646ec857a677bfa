"""The memory cache: bytes of small hot images, their revalidation, and their limits."""

import asyncio
from typing import Any

import pytest
import redis

from gateway_dev.cos_emulator.faults import Drip, Fault, Hang, Refuse, Reset
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.content import ALWAYS_REVALIDATE, SMALL, requests_to
from tests.waiting import until, until_answered, until_listening


async def test_a_private_image_in_memory_is_served_to_its_owner_alone(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", SMALL, owner="alice", public=False)
    for _ in range(3):
        assert (await gateway.get("/i/mine", user="alice")).body == SMALL
        for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
            assert (await gateway.get("/i/mine", user="bob", headers=headers)).status == 404
    assert len(images.cos.request_log.requests) == 1
    assert gateway.sample("memory_cache_bytes") == len(SMALL)


async def test_old_bytes_are_revalidated_by_their_etag(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": ALWAYS_REVALIDATE})
    await images.add("a", SMALL)
    etag = (await gateway.get("/i/a")).headers["ETag"]
    again = await gateway.get("/i/a")
    assert (again.body, again.headers["Cache-Status"]) == (SMALL, "image-gateway; fwd=stale; fwd-status=304")
    seen = images.cos.request_log.requests[-1]
    assert (seen.headers["if-none-match"], seen.bytes_sent) == (etag, 0)
    # The client's own condition is for the gateway to judge, not for COS.
    assert (await gateway.get("/i/a", headers={"If-None-Match": etag})).status == 304
    await images.add("a", b"another version")
    assert (await gateway.get("/i/a")).body == b"another version"
    assert (await gateway.get("/i/a", headers={"If-None-Match": etag})).body == b"another version"


async def test_stale_bytes_are_served_while_they_are_revalidated(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": {"ttl": 5}})
    await images.add("a", SMALL)
    await gateway.get("/i/a")
    await images.add("a", b"another version")

    async def is_stale() -> bool:
        return (await gateway.get("/i/a")).headers["Cache-Status"] == "image-gateway; hit; ttl=0"

    async def is_replaced() -> bool:
        answer = await gateway.get("/i/a")
        assert answer.headers["Cache-Status"].startswith("image-gateway; hit")
        return answer.body == b"another version"

    await until(is_stale)
    await until(is_replaced)
    assert requests_to(images.cos) == [("GET", None)] * 3, "a version that is not known is asked for again"


@pytest.mark.parametrize("action", [Refuse(status=500, code="InternalError"), Refuse(), Hang(), Reset()])
async def test_stale_bytes_are_served_when_cos_fails(start_gateway: StartGateway, images: Images, action: Any) -> None:
    gateway = await start_gateway(
        image_proxy={"memory_cache": ALWAYS_REVALIDATE, "timeout": 0.3 if action == Hang() else 10}
    )
    await images.add("a", SMALL)
    await until_answered(gateway, "/i/a", 200)  # the time limit may be so short that COS misses it on a busy machine
    images.cos.faults.add(Fault(action=action, times=None))
    for _ in range(15):  # the breaker opens on the way
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.body) == (200, SMALL)
        assert answer.headers["Cache-Status"] == "image-gateway; fwd=stale; detail=stale-if-error"
    assert (await gateway.get("/i/a", headers={"Range": "bytes=1-2"})).body == SMALL[1:3]
    memory, now = gateway.source.memory, gateway.source.memory.now
    memory.now = lambda: now() + 86_400
    assert (await gateway.get("/i/a")).status != 200, "the bytes are a day old"


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (451, "UnavailableForLegalReasons")])
async def test_what_cos_has_not_or_may_not_give_out_is_not_served_from_memory(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, status: int, code: str
) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": ALWAYS_REVALIDATE})
    await images.add("a", SMALL)
    await gateway.get("/i/a")
    cos.faults.add(Fault(action=Refuse(status=status, code=code)))
    for _ in range(2):
        assert (await gateway.get("/i/a")).status == status
        assert gateway.sample("memory_cache_bytes") == 0


async def test_a_changed_image_leaves_memory_at_once(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    """Also while the old version is still on its way: it must not be kept when it arrives."""
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Drip(size=len(SMALL) // 2, every=0.2)))
    under_way = asyncio.create_task(gateway.get("/i/a"))
    await cos.request_log.arrived(1)
    await images.add("a", b"another version")
    gateway.forget("a")
    assert (await gateway.get("/i/a")).body == b"another version"
    await under_way
    for _ in range(2):
        assert (await gateway.get("/i/a")).body == b"another version"
    await images.add("a", b"third version")
    gateway.forget("a")
    assert (await gateway.get("/i/a")).body == b"third version"


async def test_a_warm_request_reads_neither_redis_nor_postgres(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await until_listening(gateway, redis_client)
    await images.add("hot", b"x" * 1000)
    await gateway.get("/i/hot")
    queries = gateway.sample("catalog_queries_total", result="found")
    gets = redis_client.info("commandstats").get("cmdstat_get", {}).get("calls", 0)
    for _ in range(20):
        assert (await gateway.get("/i/hot")).status == 200
    assert gateway.sample("catalog_queries_total", result="found") == queries == 1
    assert redis_client.info("commandstats").get("cmdstat_get", {}).get("calls", 0) == gets
    assert gateway.sample("url_cache_lookups_total", tier="local", result="hit") == 20
    assert gateway.sample("presigns_total") == 1
