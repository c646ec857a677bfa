"""Slow clients are served and stalled ones disconnected: streamed and from memory, over real connections."""

import asyncio
import time

import pytest

from gateway.server.slow_clients import Progress
from gateway_dev.cos_emulator.faults import Drip, Fault
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.raw_client import RawConnection, connect
from tests.waiting import until, until_answered

TIMEOUT = 4.0
DATA = bytes(range(256)) * 80_000  # more than all buffers between gateway and test
LABELS = {"route": "short", "delivery": "stream"}


@pytest.fixture(params=["streamed", "from-memory"])
async def gateway(request: pytest.FixtureRequest, start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway that sends one image at a time."""
    most = len(DATA) if request.param == "from-memory" else 0
    gateway = await start_gateway(
        server={"max_streams": 1},
        image_proxy={"timeout": TIMEOUT, "memory_cache": {"max_object_bytes": most}},
    )
    await images.add("cat", DATA)
    await images.add("dog")
    await until_answered(gateway, "/i/cat", 200)  # the time limit is so short that COS may miss it on a busy machine
    return gateway


async def read_slowly(connection: RawConnection, *, size: int, every: float, seconds: float) -> bytes:
    """Read ``size`` bytes every ``every`` seconds."""
    received = bytearray()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        received += await connection.reader.readexactly(size)
        await asyncio.sleep(every)
    return bytes(received)


async def test_a_slow_client_gets_the_whole_image(gateway: RunningGateway) -> None:
    """No written chunk is read within the timeout: at this pace 2 MB take a minute."""
    async with connect(gateway.ports.public, receive_buffer=4096) as connection:
        await connection.get("/i/cat")
        head = await connection.read_head()
        begun = await read_slowly(connection, size=300, every=0.01, seconds=1.5 * TIMEOUT)
        rest = await connection.reader.readexactly(int(head.headers["content-length"]) - len(begun))
    assert begun + rest == DATA
    await until(lambda: gateway.sample("requests_total", status="200", **LABELS) == 2)


@pytest.mark.parametrize("pace", [0, 1], ids=["nothing", "a-byte-now-and-then"])
async def test_a_stalled_client_is_disconnected(gateway: RunningGateway, pace: int) -> None:
    async with connect(gateway.ports.public, receive_buffer=4096) as connection:
        began = time.monotonic()
        await connection.get("/i/cat")
        await until(lambda: gateway.sample("inflight_requests") == 1)
        while gateway.sample("requests_total", status="499", **LABELS) == 0:
            assert time.monotonic() - began < LIMIT
            if pace:
                await connection.reader.readexactly(pace)
            await asyncio.sleep(0.02)
        assert time.monotonic() - began >= TIMEOUT
        assert len(await connection.read_rest()) < len(DATA)
    assert gateway.sample("inflight_requests") == 0
    assert gateway.sample("requests_total", status="200", **LABELS) == 1, "not counted as a success"


async def test_a_stream_counts_until_its_last_byte_is_sent(gateway: RunningGateway) -> None:
    async with connect(gateway.ports.public, receive_buffer=4096) as connection:
        await connection.get("/i/cat")
        await connection.read_head()
        assert (await gateway.get("/i/dog")).status == 503
        assert gateway.sample("inflight_requests") == 1
    await until(lambda: gateway.sample("inflight_requests") == 0)
    await until_answered(gateway, "/i/dog", 200)


async def test_a_client_that_waits_for_cos_is_not_slow(start_gateway: StartGateway, images: Images) -> None:
    """The client has read everything that was sent."""
    gateway = await start_gateway(image_proxy={"timeout": TIMEOUT})
    data = DATA[:200_000]
    await images.add("cat", data)
    images.cos.faults.add(Fault(key="objects/cat.png", action=Drip(size=len(data) // 20, every=0.3)))
    assert (await gateway.get("/i/cat")).body == data


@pytest.mark.parametrize(
    ("before", "now", "is_stalled"),
    [
        (Progress(0, 0), Progress(0, 5_000), False),  # just connected, nothing is waiting
        (Progress(0, 5_000), Progress(0, 5_000), True),
        (Progress(0, 5_000), Progress(999, 4_001), True),
        (Progress(0, 5_000), Progress(1_000, 4_000), False),
        (Progress(7_000, 200), Progress(7_200, 5_000), False),  # everything that was waiting
        (Progress(7_000, 200), Progress(7_199, 5_000), True),
        (Progress(7_000, 0), Progress(7_000, 0), False),  # idle, or waiting for COS
    ],
)
def test_a_client_that_acknowledges_too_little_is_stalled(before: Progress, now: Progress, is_stalled: bool) -> None:
    assert now.is_stalled(before, 1_000) is is_stalled
