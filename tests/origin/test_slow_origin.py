"""The minimum rate of COS: a dripping body is given up, a slow one is not."""

import asyncio
import time

import aiohttp
import pytest

from gateway_dev.cos_emulator.faults import Drip, Fault
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.waiting import until

LARGE = bytes(range(256)) * 2000
SMALL = bytes(range(256)) * 100
DRIP = Drip(size=1, every=0.05)
TIMEOUT = 2.0


async def outcome(gateway: RunningGateway, path: str) -> int | str:
    """The status of an answer that comes to its end, else what ended it."""
    try:
        return (await gateway.get(path)).status
    except aiohttp.ClientPayloadError:
        return "cut"


@pytest.mark.parametrize(
    ("data", "end"), [(LARGE, "cut"), (SMALL, 502)], ids=["after-the-status", "before-the-first-byte"]
)
async def test_ten_dripping_bodies_do_not_hold_ten_places(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, data: bytes, end: int | str
) -> None:
    gateway = await start_gateway(server={"max_streams": 10}, image_proxy={"timeout": TIMEOUT, "retry_count": 1})
    await images.add("well", b"bytes")
    for number in range(10):
        await images.add(f"drip{number}", data)
    cos.faults.add(Fault(action=DRIP, key="*drip*", times=None))
    clients = [
        asyncio.create_task(outcome(gateway, f"/i/drip{number}"), name=f"client-{number}") for number in range(10)
    ]
    await until(lambda: gateway.sample("inflight_requests") == 10)
    assert (await gateway.get("/i/well")).status == 503
    await until(lambda: gateway.sample("inflight_requests") == 0, what="the end of what drips")
    assert (await gateway.get("/i/well")).body == b"bytes"
    assert await asyncio.gather(*clients) == [end] * 10
    for number in range(10):
        assert len(cos.request_log.of(f"objects/drip{number}.png")) == 2, "it is resumed once"
    await until(lambda: all(seen.finished for seen in cos.request_log.requests), what="the end of the transfers")


async def test_a_slow_origin_above_the_minimum_rate_is_not_given_up(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"timeout": 2 * TIMEOUT})
    await images.add("slow", SMALL)
    cos.faults.add(Fault(action=Drip(size=512, every=0.2)))
    began = time.monotonic()
    assert (await gateway.get("/i/slow")).body == SMALL
    assert time.monotonic() - began > 4 * TIMEOUT
    assert len(cos.request_log.requests) == 1


async def test_the_time_that_a_client_takes_is_not_the_origins(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"timeout": TIMEOUT, "memory_cache": {"max_bytes": 0}})
    data = bytes(12_000_000)
    await images.add("large", data)
    async with gateway.session.get(gateway.ports.public + "/i/large") as answer:
        received = 0
        async for piece in answer.content.iter_chunked(1_000_000):
            received += len(piece)
            await asyncio.sleep(0.1)  # the pace of the client, which is tested
    assert received == len(data)
    assert len(images.cos.request_log.requests) == 1


async def test_a_body_that_becomes_fast_after_a_drip_arrives_whole(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"timeout": TIMEOUT})
    await images.add("drip", LARGE)
    images.cos.faults.add(Fault(action=DRIP))
    assert (await gateway.get("/i/drip")).body == LARGE
    assert [seen.status for seen in images.cos.request_log.requests] == [200, 206]
