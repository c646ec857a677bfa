"""Deliveries broken by faults, seen by a client over a socket."""

import asyncio
import time

import pytest
from aiohttp import ClientError, ClientPayloadError

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Action, Cut, Drip, Hang, Reset
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from tests.limits import LIMIT

from .conftest import BUCKET, DATA, KEY, Client, add

pytestmark = pytest.mark.usefixtures("large_object")


async def read_until_closed(client: Client, key: str = KEY) -> tuple[bytes, BaseException | None]:
    """Return the received body bytes and the error at their end, if any."""
    received = bytearray()
    try:
        async with await client.open(client.presign(key)) as response:
            assert response.status == 200
            assert response.content_length == len(DATA)
            async for piece in response.content.iter_any():
                received += piece
    except ClientError as error:
        return bytes(received), error
    return bytes(received), None


async def whole(client: Client) -> None:
    """Check that the client receives the whole object."""
    answer = await client.get(KEY)
    assert (answer.status, answer.body) == (200, DATA)


async def others_answered(client: Client) -> None:
    """Wait for answers to requests for another object: what else the emulator had to send at once, it has sent."""
    for _ in range(10):
        assert (await client.get("missing")).status == 404


@pytest.mark.parametrize("at", [0, 1, 70_000])
async def test_cut_closes_after_the_given_bytes(client: Client, cos: CosEmulator, at: int) -> None:
    add(cos, Cut(at=at))
    received, error = await read_until_closed(client)
    assert received == DATA[:at]
    assert isinstance(error, ClientPayloadError)
    await cos.request_log.settled()
    (seen,) = cos.request_log.requests
    assert (seen.status, seen.bytes_sent, seen.client_left) == (200, at, False)
    await whole(client)


async def test_reset_sends_no_byte(client: Client, cos: CosEmulator) -> None:
    reader, writer = await asyncio.open_connection(cos.host, cos.port)
    add(cos, Reset())
    writer.write(f"GET {client.presign(KEY).removeprefix(cos.url)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await cos.request_log.settled()
    assert cos.request_log.requests[0].status is None
    await whole(client)


async def test_hang_sends_no_headers_until_the_client_disconnects(client: Client, cos: CosEmulator) -> None:
    add(cos, Hang())
    request = asyncio.create_task(client.get(KEY), name="request")
    await cos.request_log.arrived()
    await others_answered(client)
    assert not request.done()
    request.cancel()
    await cos.request_log.settled()
    (seen,) = cos.request_log.of(KEY)
    assert (seen.status, seen.client_left) == (None, True)
    await whole(client)


async def test_hang_stops_after_the_given_bytes(client: Client, cos: CosEmulator) -> None:
    add(cos, Hang(at=1000))
    async with await client.open(client.presign(KEY)) as response:
        assert await response.content.readexactly(1000) == DATA[:1000]
        await others_answered(client)
        assert response.content.total_bytes == 1000
    await cos.request_log.settled()
    (seen,) = cos.request_log.of(KEY)
    assert (seen.bytes_sent, seen.client_left) == (1000, True)


@pytest.mark.parametrize("action", [Hang(), Hang(at=10), Drip(size=10, every=1000)], ids=lambda action: repr(action))
async def test_stopping_ends_hanging_answers(client: Client, cos: CosEmulator, action: Action) -> None:
    add(cos, action)
    request = asyncio.create_task(client.get(KEY), name="request")
    async with asyncio.timeout(LIMIT):
        await cos.request_log.arrived()
        await cos.__aexit__(None, None, None)
        with pytest.raises(ClientError):
            await request
    assert not cos.request_log.requests[0].client_left
    assert cos.request_log.requests[0].finished


async def test_drip_pauses_between_pieces(client: Client, cos: CosEmulator, store: ObjectStore) -> None:
    store.put(BUCKET, KEY, b"12345")
    add(cos, Drip(size=2, every=0.02))
    started = time.monotonic()
    async with await client.open(client.presign(KEY)) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert pieces == [b"12", b"34", b"5"]
    assert time.monotonic() - started >= 0.04
    await cos.request_log.settled()
    assert cos.request_log.requests[0].bytes_sent == 5


async def test_a_slow_client_pauses_the_answer(client: Client, cos: CosEmulator, store: ObjectStore) -> None:
    """The emulator reads no more of the object than the client's buffers take."""
    store.put(BUCKET, "a.png", SyntheticContent(60_000_000))
    async with await client.open(client.presign("a.png")) as response:
        await response.content.readexactly(1000)
        (seen,) = cos.request_log.requests
        before = -1
        while seen.bytes_sent != before:
            before = seen.bytes_sent
            await others_answered(client)
        assert seen.bytes_sent < 30_000_000
        response.close()
