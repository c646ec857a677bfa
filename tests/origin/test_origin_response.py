"""A clean end means a whole body; any other end raises."""

import asyncio
import contextlib
import ssl
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.errors import OriginUnavailable
from gateway.origin.client import ObservedAnswers, OriginClient
from gateway.origin.cos_errors import BodyLost
from gateway.origin.origin_response import ContentRange, CosConnections
from gateway.origin.retry import Retries
from gateway.service.metrics import Metrics
from gateway.settings import Live
from gateway_dev.cos_emulator.faults import Action, Chunked, Cut, Drip, Fault, Hang, Headers, NoLength, WrongLength
from gateway_dev.cos_emulator.server import CosEmulator
from tests.certificates import server_context, write_certificate
from tests.conftest import BUCKET
from tests.limits import LIMIT
from tests.origin.conftest import OpenOrigin, Presign, object_body, read_all
from tests.origin.scripted import head
from tests.waiting import until

DATA = bytes(range(256)) * 1000
CRC = "x-cos-hash-crc64ecma"


@pytest.fixture(autouse=True)
def cat(cos: CosEmulator) -> None:
    """The object that the tests ask for, and one without a checksum."""
    cos.store.put(BUCKET, "cat.png", DATA)
    cos.store.put(BUCKET, "old.png", DATA, has_crc=False)


async def received(origin: OriginClient, url: str, **headers: str) -> bytes:
    """Return the whole body."""
    async with object_body(origin, url, **headers) as body:
        return await read_all(body)


async def received_before_loss(origin: OriginClient, url: str) -> bytes:
    """Return the bytes received before the body was lost."""
    received = bytearray()
    async with object_body(origin, url) as body:
        with pytest.raises(BodyLost):  # noqa: PT012 - the pieces before it are looked at
            while piece := await body.read():
                received += piece
    return bytes(received)


@pytest.mark.parametrize("action", [Chunked(), Drip(size=100_000, every=0.01), WrongLength(by=0)])
async def test_the_framing_ends_a_body_without_a_checksum(
    origin: OriginClient, presign: Presign, cos: CosEmulator, action: Action
) -> None:
    cos.faults.add(Fault(action=action))
    assert await received(origin, presign("old.png")) == DATA


@pytest.mark.parametrize(
    "action", [Cut(at=100_000), Cut(at=100_000, reset=True), Cut(at=0), WrongLength(by=1), Hang(at=100_000)]
)
async def test_a_body_without_a_checksum_that_ends_short_is_lost(
    open_one: OpenOrigin, presign: Presign, cos: CosEmulator, action: Action
) -> None:
    origin = await open_one(timeout=5)
    cos.faults.add(Fault(action=action))
    began = time.monotonic()
    came = await received_before_loss(origin, presign("old.png"))
    assert DATA.startswith(came)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("delivery", [Chunked(), NoLength()])
async def test_a_body_without_length_and_with_a_wrong_checksum_is_lost(
    origin: OriginClient, presign: Presign, cos: CosEmulator, delivery: Action
) -> None:
    cos.faults.add(Fault(action=Headers(remove=[CRC], add=[(CRC, "12345")])))
    cos.faults.add(Fault(action=delivery))
    assert await received_before_loss(origin, presign()) == DATA


@pytest.mark.parametrize("checksum", ["", "-1", "abc", "1.5", "9" * 5000, "²"])
async def test_a_checksum_that_is_not_a_number_is_ignored(
    origin: OriginClient, presign: Presign, cos: CosEmulator, checksum: str
) -> None:
    cos.faults.add(Fault(action=Headers(remove=[CRC], add=[(CRC, checksum)])))
    assert await received(origin, presign()) == DATA


@pytest.mark.parametrize(
    "content_range",
    [
        None,
        "",
        "bytes 0-9/*",
        "bytes 0-9",
        "bytes 9-0/10",
        "bytes 0-10/256000",
        "items 0-9/256000",
        "bytes 0-9/" + "9" * 50,
    ],
)
async def test_a_part_with_a_wrong_content_range_is_refused(
    origin: OriginClient, presign: Presign, cos: CosEmulator, content_range: str | None
) -> None:
    add = [] if content_range is None else [("Content-Range", content_range)]
    cos.faults.add(Fault(action=Headers(remove=["Content-Range"], add=add)))
    with pytest.raises(OriginUnavailable):
        await received(origin, presign(), Range="bytes=0-9")


async def test_a_part_without_a_length_is_refused(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    cos.faults.add(Fault(action=NoLength()))
    with pytest.raises(OriginUnavailable):
        await received(origin, presign(), Range="bytes=0-9")


async def test_a_range_says_which_bytes_of_how_many(origin: OriginClient, presign: Presign) -> None:
    with closing(await origin.fetch(presign(), headers={"Range": "bytes=10-19"})) as response:
        assert response.head.content_range == ContentRange(10, 19, len(DATA))


@pytest.mark.parametrize(
    ("last", "first", "end", "is_rest"),
    [(19, 10, 20, True), (29, 10, None, True), (19, 10, None, False), (19, 9, 20, False), (19, 10, 21, False)],
)
def test_the_rest_begins_and_ends_where_it_was_asked_for(last: int, first: int, end: int | None, is_rest: bool) -> None:
    assert ContentRange(10, last, 30).is_rest(first, end) == is_rest


async def test_an_answer_without_a_body_ends_at_once(origin: OriginClient, presign: Presign) -> None:
    with closing(await origin.fetch(presign(method="HEAD"), method="HEAD")) as response:
        assert not response.head.has_body
        assert response.head.length == len(DATA)
        assert await response.read() == b""


async def test_a_body_that_was_lost_stays_lost(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    cos.faults.add(Fault(action=Cut(at=0)))
    with closing(await origin.fetch(presign())) as response:
        for _ in range(2):
            with pytest.raises(BodyLost):
                await response.read()


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_a_body_in_broken_chunks_is_lost_at_once(open_one: OpenOrigin, *, is_waiting: bool) -> None:
    origin, breaks = await open_one(timeout=LIMIT * 2, retry_count=0), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        await breaks.wait()
        writer.write(b"no number\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        response = await origin.fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cat.png")
        with closing(response):
            assert await response.read() == b"hello"
            asyncio.get_running_loop().call_soon(breaks.set)
            if not is_waiting:
                await until(lambda: response.transport is None or response.transport.is_closing())
            async with asyncio.timeout(LIMIT):
                with pytest.raises(BodyLost):
                    await response.read()


async def test_a_blocked_client_keeps_little_of_a_response_over_tls(tmp_path: Path) -> None:
    """asyncio would receive half a megabyte for it, and keep a buffer of a quarter; the kernel has others."""
    whole = bytes(range(256)) * 40_000
    certificate, key = write_certificate(tmp_path, "127.0.0.1")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head("200 OK", f"Content-Length: {len(whole)}") + whole)
            await writer.drain()
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context(certificate, key)) as server,
        aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(certificate))) as connector,
    ):
        session = CosConnections(connector, timeout=5)
        origin = OriginClient(session, timeout=5, retries=Retries(Live(0)), observed=ObservedAnswers(Metrics().origin))
        port = server.sockets[0].getsockname()[1]
        with closing(await origin.fetch(f"https://127.0.0.1:{port}/cat.png")) as response:
            received = bytearray(await response.read())
            transport: Any = response.transport
            tls = transport._ssl_protocol
            for most, buffer in ((300_000, 262_144), (50_000, 16_384)):
                response.suit(has_unsent=True, is_blocked=True)
                await until(lambda: not tls._transport.is_reading(), what="a pause in receiving")
                assert transport.get_read_buffer_size() < most
                assert len(tls._ssl_buffer) == buffer
                await asyncio.sleep(0.06)  # the client wants no more for a while: a trickle from here on
                received += await response.read()
            while piece := await response.read():
                received += piece
                response.suit(has_unsent=False, is_blocked=False)
            assert len(tls._ssl_buffer) == 262_144
    assert bytes(received) == whole
