"""Honest about every end: observed on the wire."""

import logging
import time

import pytest

from gateway_dev.cos_emulator.faults import Action, Cut, Drip, Fault, Hang, Headers, NoLength, Refuse
from tests.conftest import Images, RunningGateway, StartGateway
from tests.raw_client import RawConnection, connect
from tests.waiting import until_asked, until_counted, until_finished

DATA = bytes(range(256)) * 1200
LARGE = bytes(40_000_000)
CRC = "x-cos-hash-crc64ecma"
KEY = "objects/cat.png"
# COS fails after some of the body, and does not answer again.
STAYS_AWAY = Fault(key=KEY, action=Refuse(status=500, code="InternalError"), skip=1, times=None)


async def until_ended(gateway: RunningGateway, status: str) -> None:
    """Return when a request has ended with ``status``."""
    await until_counted(gateway.registry, "requests_total", route="short", delivery="stream", status=status)


async def two_requests(connection: RawConnection) -> bytes:
    """Ask for the image, and in the same breath for something else; all that comes after the first head."""
    await connection.get("/i/cat")
    await connection.get("/healthz")
    head = await connection.read_head()
    assert head.status == 200
    if "content-length" in head.headers:
        assert head.headers["content-length"] == str(len(DATA))
    else:
        assert head.headers["transfer-encoding"] == "chunked"
    return await connection.read_rest()


@pytest.mark.parametrize(
    "action",
    [
        Cut(at=200_000),
        Cut(at=200_000, reset=True),
        Hang(at=200_000),
        Headers(remove=[CRC], add=[(CRC, "12345")]),
    ],
)
async def test_a_body_that_ends_short_of_its_length_ends_the_connection(
    start_gateway: StartGateway, images: Images, caplog: pytest.LogCaptureFixture, action: Action
) -> None:
    """The next answer on the connection would be read as the rest of the image."""
    gateway = await start_gateway(image_proxy={"timeout": 5, "retry_count": 0})
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=action))
    images.cos.faults.add(STAYS_AWAY)
    async with connect(gateway.ports.public) as connection:
        rest = await two_requests(connection)
    assert len(rest) < len(DATA)
    assert DATA.startswith(rest), "nothing but bytes of the image"
    await until_ended(gateway, "aborted")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_body_in_chunks_that_ends_short_has_no_last_chunk(start_gateway: StartGateway, images: Images) -> None:
    """With a last chunk, half an image would look whole, and a cache would store it."""
    gateway = await start_gateway(image_proxy={"timeout": 5, "retry_count": 0})
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=NoLength(cut_at=200_000)))
    images.cos.faults.add(STAYS_AWAY)
    async with connect(gateway.ports.public) as connection:
        rest = await two_requests(connection)
    assert not rest.endswith(b"0\r\n\r\n")
    assert b"HTTP/1.1" not in rest
    assert b"alive" not in rest
    await until_ended(gateway, "aborted")


@pytest.mark.parametrize("action", [Cut(at=10), Cut(at=10, reset=True), Hang(at=10)])
async def test_a_small_body_that_ends_short_is_an_error_and_the_connection_stays_good(
    start_gateway: StartGateway, images: Images, action: Action
) -> None:
    gateway = await start_gateway(image_proxy={"timeout": 5, "retry_count": 0})
    await images.add("cat", DATA[:1000])
    images.cos.faults.add(Fault(key=KEY, action=action))
    async with connect(gateway.ports.public) as connection:
        await connection.get("/i/cat")
        head = await connection.read_head()
        assert head.status == 502
        assert b"origin_unavailable" in await connection.read_body(head)
        await connection.get("/i/cat")
        head = await connection.read_head()
        assert head.status == 200
        assert await connection.read_body(head) == DATA[:1000]


async def test_a_slow_cos_is_not_an_error(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"timeout": 2})
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=Drip(size=len(DATA) // 6, every=0.4)))
    began = time.monotonic()
    assert (await gateway.get("/i/cat")).body == DATA
    assert time.monotonic() - began > 2.2, "longer in all than any pause may be"


async def test_a_client_that_disconnects_is_not_an_error_and_the_transfer_stops(
    gateway: RunningGateway, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("cat", LARGE)
    caplog.clear()
    async with connect(gateway.ports.public) as connection:
        await connection.get("/i/cat")
        await connection.read_head()
        await connection.reader.readexactly(100_000)
    await until_ended(gateway, "499")
    seen = await until_finished(images.cos, KEY)
    assert seen.client_left
    assert seen.bytes_sent < len(LARGE)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert gateway.sample("inflight_requests") == 0


async def test_a_client_that_disconnects_before_the_first_byte_ends_the_wait_for_it(
    gateway: RunningGateway, images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=Hang()))
    caplog.clear()
    async with connect(gateway.ports.public) as connection:
        await connection.get("/i/cat")
        await until_asked(images.cos, KEY)
    await until_ended(gateway, "499")
    assert (await until_finished(images.cos, KEY)).client_left
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
