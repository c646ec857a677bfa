"""Limits that keep the gateway alive: the number of streams, connections to COS, clients that read nothing."""

import asyncio

import aiohttp
import pytest

from gateway.cos_emulator.content import SyntheticContent
from gateway.cos_emulator.faults import Fault, Hang
from gateway.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.raw_client import connect
from tests.stories.content import SMALL, add_large
from tests.waiting import until_counted


async def test_requests_beyond_max_streams_are_answered_with_503_while_health_answers(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(server={"max_streams": 2})
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Hang(), times=None))
    held = [asyncio.create_task(gateway.get("/i/a")) for _ in range(2)]
    await until_counted(gateway.registry, "coalesced_requests_total")
    refused = await gateway.get("/i/a")
    assert (refused.status, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await gateway.get("/healthz")).status == 200
    assert (await gateway.get("/metrics", admin=True)).status == 200
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_requests_share_a_handful_of_connections_to_cos(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": {"max_bytes": 0}})
    await images.add("a", b"x" * 150_000)
    for _ in range(60):
        assert (await gateway.get("/i/a")).status == 200
    assert len(cos.request_log.of("objects/a.png")) == 60
    assert cos.request_log.connections <= 3


async def test_a_client_that_reads_nothing_is_disconnected(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """A write to such a client would otherwise wait for ever."""
    gateway = await start_gateway(image_proxy={"timeout": 2})
    await add_large(images, SyntheticContent(20_000_000))
    async with connect(gateway.ports.public, receive_buffer=1024) as connection:
        await connection.get("/i/a")
        await until_counted(gateway.registry, "requests_total", route="short", delivery="stream", status="499")
        async with asyncio.timeout(LIMIT):
            await cos.request_log.settled()


async def test_a_client_that_disconnects_ends_the_transfer_without_an_error(
    gateway: RunningGateway, images: Images, cos: CosEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("big", b"x" * 30_000_000)
    async with aiohttp.ClientSession(base_url=gateway.ports.public, read_bufsize=1024) as session:
        answer = await session.get("/i/big")
        await answer.content.readexactly(1000)
        answer.close()
    async with asyncio.timeout(LIMIT):
        await cos.request_log.settled()
    seen = cos.request_log.of("objects/big.png")[-1]
    assert seen.bytes_sent < 30_000_000
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
    assert gateway.sample("requests_total", route="short", delivery="stream", status="499") == 1
