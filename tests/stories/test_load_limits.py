"""Limits that keep the gateway alive: the numbers of streams and of connections to COS."""

import asyncio

from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, StartGateway
from tests.stories.content import SMALL
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
