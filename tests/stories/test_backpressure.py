"""Slow readers hold the origin back instead of filling the memory, and requests beyond a limit are refused."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from yarl import URL

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.access.credentials import bearer, token
from tests.conftest import BUCKET, Images, StartGateway
from tests.processes import GatewayProcess, gateway_process
from tests.stories.content import SMALL
from tests.waiting import until, until_counted

READERS = 40
IMAGE = SyntheticContent(60_000_000)
MOST_GROWTH = 80 * 1024 * 1024


@pytest.fixture
async def process(tmp_path: Path, raw_settings: dict[str, dict[str, Any]]) -> AsyncIterator[GatewayProcess]:
    """A gateway whose memory is its own."""
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump({**raw_settings, "image_proxy": {"timeout": 20}}))
    async with gateway_process("serve", "--config", str(config)) as running:
        yield running


@pytest.mark.parametrize("distinct", [READERS, 1], ids=["each-another-image", "all-the-same-image"])
async def test_forty_readers_of_sixty_megabytes_at_a_trickle_cost_less_than_80_mib(
    process: GatewayProcess, images: Images, cos: CosEmulator, distinct: int
) -> None:
    for number in range(distinct):
        cos.store.put(BUCKET, f"big-{number}.png", IMAGE)
        await images.add_row(ImageRow(f"big-{number}", None, f"big-{number}.png", public=True))
    await images.add("warm")
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(process.public, read_bufsize=1024, connector=connector) as session:
        async with session.get("/i/warm") as answer:
            await answer.read()
        before = _resident(process)
        async with AsyncExitStack() as stack:
            answers = [await stack.enter_async_context(session.get(f"/i/big-{n % distinct}")) for n in range(READERS)]
            most = 0
            for position in range(20):
                for answer in answers:
                    start = position * 1000
                    assert await answer.content.readexactly(1000) == IMAGE.read(start, start + 1000)
                most = max(most, _resident(process))
                await asyncio.sleep(0.05)  # the trickle
            for answer in answers:
                answer.close()
    assert most - before < MOST_GROWTH
    print(f"{(most - before) / 1024 / 1024:.1f} MiB for {READERS} readers")  # noqa: T201 - the measured figure


async def test_a_slow_stream_costs_less_than_400_kib(process: GatewayProcess, images: Images, cos: CosEmulator) -> None:
    """The readers ask and read nothing, so everything on the way to them is full."""
    streams = 100
    for number in range(streams):
        cos.store.put(BUCKET, f"ten-{number}.png", SyntheticContent(10_000_000))
        await images.add_row(ImageRow(f"ten-{number}", None, f"ten-{number}.png", public=True))
    await images.add("warm")
    loop = asyncio.get_running_loop()
    address = URL(process.public)

    async def read_a_little(path: str) -> socket.socket:
        reader = socket.socket()
        reader.setblocking(False)
        await loop.sock_connect(reader, (address.host, address.port))
        await loop.sock_sendall(reader, f"GET /i/{path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        assert (await loop.sock_recv(reader, 100)).startswith(b"HTTP/1.1 200")
        return reader

    (await read_a_little("warm")).close()
    before = _resident(process)
    readers = [await read_a_little(f"ten-{number}") for number in range(streams)]
    most = await _resident_when_full(process)
    for reader in readers:
        reader.close()
    assert (most - before) / streams < 400 * 1024


async def test_requests_beyond_max_streams_are_answered_with_503_while_health_answers(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(server={"max_streams": 2})
    for image_id in "ab":
        await images.add(image_id, SMALL)
    await images.add("private", owner="alice", public=False)
    await gateway.get("/i/b")  # in memory from here on
    assert (await gateway.get("/i/private", headers=bearer(token(sub="alice")))).status == 200
    cos.faults.add(Fault(action=Hang(), times=None))
    held = [asyncio.create_task(gateway.get("/i/a")) for _ in range(2)]
    await until_counted(gateway.registry, "coalesced_requests_total")
    for image_id in "a", "b", "private", "unknown":  # a stranger learns nothing about the last two
        refused = await gateway.get(f"/i/{image_id}")
        assert (refused.status, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
    assert (await gateway.get("/i/b?style=no-such")).status == 400  # trying again is of no use
    assert (await gateway.get("/healthz")).status == 200
    assert (await gateway.get("/metrics", admin=True)).status == 200
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def _resident_when_full(process: GatewayProcess) -> int:
    """Bytes of memory when they no longer grow, which is when everything on the way to the readers is full."""
    sizes: list[int] = []

    def stands_still() -> bool:
        sizes.append(_resident(process))
        return len(sizes) >= 20 and max(sizes[-20:]) == max(sizes[:-19])

    await until(stands_still, what="the end of the growth")
    return max(sizes)


def _resident(process: GatewayProcess) -> int:
    """Bytes of memory that the process holds, by proc(5)."""
    for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process is gone")
