"""One transfer from COS for all requests for one object at the same time."""

import asyncio

import aiohttp
import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Drip, Fault, Hang, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.content import SMALL, add_large, requests_to
from tests.waiting import until_counted


@pytest.mark.parametrize("size", [20_000, 1_500_000, 3_000_000])
async def test_three_hundred_requests_for_a_cold_image_become_one(
    gateway: RunningGateway, images: Images, cos: CosEmulator, size: int
) -> None:
    content = SyntheticContent(size)
    await add_large(images, content)
    cos.faults.add(Fault(action=Drip(size=size // 10, every=0.05)))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(gateway.ports.public, connector=connector) as session:

        async def fetch() -> bool:
            async with session.get("/i/a") as answer:
                return await answer.read() == content.read(0, size)

        assert all(await asyncio.gather(*(fetch() for _ in range(300))))
    assert requests_to(cos) == [("GET", None)]


async def test_a_late_request_joins_and_a_client_that_disconnects_disturbs_no_other(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", SMALL * 100)
    cos.faults.add(Fault(action=Drip(size=50_000, every=0.05)))
    async with aiohttp.ClientSession(gateway.ports.public, read_bufsize=1024) as session:
        leaver = await session.get("/i/a")
        late = asyncio.create_task(gateway.get("/i/a"))
        await until_counted(gateway.registry, "coalesced_requests_total")
        leaver.close()
    answer = await late
    assert answer.body == SMALL * 100
    assert "collapsed" in answer.headers["Cache-Status"]
    assert requests_to(cos) == [("GET", None)]


async def test_the_first_client_may_disconnect_before_cos_answers(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", SMALL)
    images.cos.faults.add(Fault(action=Hang()))
    first = asyncio.create_task(gateway.get("/i/a"))
    await images.cos.request_log.arrived(1)
    second = asyncio.create_task(gateway.get("/i/a"))
    await until_counted(gateway.registry, "coalesced_requests_total")
    first.cancel()
    answer = await second
    assert (answer.status, answer.body) == (200, SMALL)


async def test_a_failure_is_shared_and_not_cached(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0})
    await images.add("a", SMALL)
    images.cos.faults.add(Fault(action=Refuse(status=500, code="InternalError")))
    answers = await asyncio.gather(*(gateway.get("/i/a") for _ in range(20)))
    assert {answer.status for answer in answers} <= {200, 502}
    assert len(images.cos.request_log.requests) <= 2
    assert (await gateway.get("/i/a")).body == SMALL


async def test_two_ids_of_one_object_share_bytes_but_not_access(gateway: RunningGateway, images: Images) -> None:
    await images.add("open", SMALL, key="one.png")
    await images.add("mine", SMALL, key="one.png", owner="alice", public=False)
    assert (await gateway.get("/i/mine", user="alice")).headers["Cache-Control"].startswith("private")
    assert (await gateway.get("/i/open")).headers["Cache-Control"].startswith("public")
    assert (await gateway.get("/i/mine", user="bob")).status == 404
    assert len(images.cos.request_log.requests) == 1
