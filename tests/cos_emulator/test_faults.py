"""Every way to misbehave, seen from the other end of a real socket."""

import asyncio
import gzip
import time

import pytest
from aiohttp import ClientError, ClientOSError, ClientPayloadError
from pydantic import ValidationError

from gateway.cos_emulator.armed_faults import Faults
from gateway.cos_emulator.content import SyntheticContent
from gateway.cos_emulator.faults import (
    Action,
    Change,
    Chunked,
    Cut,
    Drip,
    Fault,
    Gzip,
    Hang,
    Headers,
    Html,
    NoLength,
    Redirect,
    Refuse,
    Reset,
    WrongLength,
)
from gateway.cos_emulator.server import CosEmulator
from gateway.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client, RawExchange

KEY = "a/b.png"
CONTENT = SyntheticContent(100_000)
DATA = CONTENT.read(0, CONTENT.size)


@pytest.fixture(autouse=True)
def sample(store: ObjectStore) -> None:
    store.put(BUCKET, KEY, DATA, headers={"x-cos-meta-a": "1"})


def add(cos: CosEmulator, action: Action) -> None:
    cos.faults.add(Fault(action=action))


async def read_until_closed(client: Client, key: str = KEY) -> tuple[bytes, BaseException | None]:
    """What arrives of a body, and how it ends."""
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
    """The object arrives in good health."""
    answer = await client.get(KEY)
    assert (answer.status, answer.body) == (200, DATA)


async def test_refuse(client: Client, cos: CosEmulator) -> None:
    add(cos, Refuse(headers={"Retry-After": "7"}))
    answer = await client.get(KEY)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert b"<Code>SlowDown</Code>" in answer.body
    assert "x-cos-request-id" in answer.headers
    await whole(client)


async def test_refuse_with_any_status(client: Client, cos: CosEmulator) -> None:
    add(cos, Refuse(status=451, code="UnavailableForLegalReasons", message="Blocked."))
    head = await client.head(KEY)
    assert (head.status, head.body) == (451, b"")


@pytest.mark.parametrize("at", [0, 1, 70_000])
async def test_cut(client: Client, cos: CosEmulator, at: int) -> None:
    add(cos, Cut(at=at))
    received, error = await read_until_closed(client)
    assert received == DATA[:at]
    assert isinstance(error, ClientPayloadError)
    await cos.request_log.settled()
    (seen,) = cos.request_log.requests
    assert (seen.status, seen.bytes_sent, seen.client_left) == (200, at, False)
    await whole(client)


async def test_cut_by_reset(client: Client, cos: CosEmulator) -> None:
    add(cos, Cut(at=5000, reset=True))
    received, error = await read_until_closed(client)
    assert DATA[:5000].startswith(received)
    assert isinstance(error, ClientError)
    await whole(client)


async def test_cut_at_the_end_is_whole_but_its_connection_is_gone(client: Client, cos: CosEmulator) -> None:
    add(cos, Cut(at=len(DATA)))
    await whole(client)
    await whole(client)
    assert cos.request_log.connections == 2


async def test_cut_counts_from_the_start_of_a_range(client: Client, cos: CosEmulator, exchange: RawExchange) -> None:
    add(cos, Cut(at=3))
    async with await client.open(client.presign(KEY), headers={"Range": "bytes=100-199"}) as response:
        assert response.status == 206
        with pytest.raises(ClientPayloadError):
            await response.read()
    await cos.request_log.settled()
    assert (cos.request_log.requests[0].range, cos.request_log.requests[0].bytes_sent) == ("bytes=100-199", 3)


async def test_reset(client: Client, cos: CosEmulator) -> None:
    reader, writer = await asyncio.open_connection(cos.host, cos.port)
    add(cos, Reset())
    writer.write(f"GET {client.presign(KEY).removeprefix(cos.url)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await cos.request_log.settled()
    assert cos.request_log.requests[0].status is None
    await whole(client)


async def test_reset_twice_fails_a_request_of_aiohttp(client: Client, cos: CosEmulator) -> None:
    cos.faults.add(Fault(action=Reset(), times=2))
    with pytest.raises(ClientOSError):
        await client.get(KEY)
    await whole(client)


async def test_hang_before_headers_until_the_client_leaves(client: Client, cos: CosEmulator) -> None:
    add(cos, Hang())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.get(KEY)
    await cos.request_log.settled()
    (seen,) = cos.request_log.requests
    assert (seen.status, seen.client_left) == (None, True)
    await whole(client)


async def test_hang_after_some_bytes(client: Client, cos: CosEmulator) -> None:
    add(cos, Hang(at=1000))
    async with await client.open(client.presign(KEY)) as response:
        assert await response.content.readexactly(1000) == DATA[:1000]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await response.content.readany()
    await cos.request_log.settled()
    assert cos.request_log.requests[0].client_left


async def test_hang_right_after_headers(client: Client, cos: CosEmulator) -> None:
    add(cos, Hang(at=0))
    async with await client.open(client.presign(KEY)) as response:
        assert response.content_length == len(DATA)


@pytest.mark.parametrize("action", [Hang(), Hang(at=10), Drip(size=10, every=30)], ids=lambda action: repr(action))
async def test_stopping_ends_what_hangs(client: Client, cos: CosEmulator, action: Action) -> None:
    add(cos, action)
    request = asyncio.create_task(client.get(KEY), name="request")
    async with asyncio.timeout(5):
        await cos.request_log.arrived()
        await cos.__aexit__(None, None, None)
        with pytest.raises(ClientError):
            await request
    assert not cos.request_log.requests[0].client_left
    assert cos.request_log.requests[0].finished


async def test_drip(client: Client, cos: CosEmulator, store: ObjectStore) -> None:
    store.put(BUCKET, KEY, b"12345")
    add(cos, Drip(size=2, every=0.02))
    started = time.monotonic()
    async with await client.open(client.presign(KEY)) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert pieces == [b"12", b"34", b"5"]
    assert time.monotonic() - started >= 0.04
    await cos.request_log.settled()
    assert cos.request_log.requests[0].bytes_sent == 5


async def test_too_long_a_length(client: Client, cos: CosEmulator, exchange: RawExchange) -> None:
    add(cos, WrongLength(by=10))
    raw = await exchange(client.presign(KEY).removeprefix(cos.url))
    assert b"\r\nContent-Length: 100010\r\n" in raw
    assert raw.endswith(b"\r\n\r\n" + DATA)
    add(cos, WrongLength(by=10))
    with pytest.raises(ClientPayloadError):
        await client.get(KEY)
    await whole(client)


async def test_too_short_a_length(client: Client, cos: CosEmulator, exchange: RawExchange) -> None:
    add(cos, WrongLength(by=-10))
    raw = await exchange(client.presign(KEY).removeprefix(cos.url))
    assert b"\r\nContent-Length: 99990\r\n" in raw
    assert raw.endswith(b"\r\n\r\n" + DATA)
    add(cos, WrongLength(by=-1_000_000))
    assert b"\r\nContent-Length: 0\r\n" in await exchange(client.presign(KEY).removeprefix(cos.url))


async def test_no_length(client: Client, cos: CosEmulator, exchange: RawExchange) -> None:
    add(cos, NoLength())
    raw = await exchange(client.presign(KEY).removeprefix(cos.url))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length" not in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert body == DATA


async def test_no_length_and_cut_reads_as_a_clean_end(client: Client, cos: CosEmulator) -> None:
    add(cos, NoLength(cut_at=777))
    assert (await client.get(KEY)).body == DATA[:777]


async def test_chunked(client: Client, cos: CosEmulator) -> None:
    add(cos, Chunked())
    answer = await client.get(KEY)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert answer.body == DATA


async def test_html(client: Client, cos: CosEmulator) -> None:
    add(cos, Html())
    answer = await client.get(KEY)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")
    add(cos, Html())
    assert (await client.head(KEY)).headers["Content-Type"] == "text/html; charset=utf-8"


async def test_redirect(client: Client, cos: CosEmulator) -> None:
    add(cos, Redirect(location="http://169.254.169.254/latest?a=%2F"))
    answer = await client.get(KEY)
    assert (answer.status, answer.headers["Location"]) == (302, "http://169.254.169.254/latest?a=%2F")


async def test_gzip(client: Client, cos: CosEmulator) -> None:
    add(cos, Gzip())
    answer = await client.get(KEY)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) == len(answer.body) < len(DATA)
    assert gzip.decompress(answer.body) == DATA


async def test_gzip_leaves_a_304_alone(client: Client, cos: CosEmulator) -> None:
    add(cos, Gzip())
    answer = await client.get(KEY, headers={"If-None-Match": "*"})
    assert (answer.status, answer.body) == (304, b"")


async def test_headers(client: Client, cos: CosEmulator) -> None:
    added = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Accel-Redirect", "/etc"), ("ETag", '"second"')]
    add(cos, Headers(remove=["Content-Type", "X-Unknown"], add=added))
    answer = await client.get(KEY)
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers["X-Accel-Redirect"] == "/etc"
    assert len(answer.headers.getall("ETag")) == 2
    assert answer.body == DATA


async def test_an_object_changes_between_two_requests(client: Client, cos: CosEmulator) -> None:
    """The story of a resume that must not mix bytes."""
    cos.faults.add(Fault(action=Cut(at=500), key=KEY))
    cos.faults.add(Fault(action=Change(data=b"new"), key=KEY, skip=1))
    url = client.presign(KEY)
    async with await client.open(url) as response:
        etag = response.headers["ETag"]
    resumed = await client.fetch(url, headers={"Range": "bytes=500-", "If-Match": etag})
    assert resumed.status == 412
    answer = await client.get(KEY)
    assert (answer.body, answer.headers["x-cos-meta-a"]) == (b"new", "1")
    assert answer.headers["ETag"] != etag


async def test_anything_may_happen_at_a_change(client: Client, cos: CosEmulator, store: ObjectStore) -> None:
    add(cos, Change(run=store.delete))
    assert (await client.get(KEY)).status == 404
    add(cos, Change(data=b"born"))
    assert (await client.get(KEY)).body == b"born"


async def test_actions_combine(client: Client, cos: CosEmulator, exchange: RawExchange) -> None:
    """Alterations all apply; of two deliveries the first."""
    add(cos, NoLength(cut_at=1))
    add(cos, Html(body="<p>"))
    add(cos, Headers(add=[("Set-Cookie", "a=1")]))
    add(cos, Cut(at=0))
    raw = await exchange(client.presign(KEY).removeprefix(cos.url))
    assert b"\r\nSet-Cookie: a=1\r\n" in raw
    assert raw.endswith(b"\r\n\r\n<")
    assert [armed.fired for armed in cos.faults.armed] == [1, 1, 1, 1]
    await whole(client)


async def test_faults_meet_refused_requests_too(client: Client, cos: CosEmulator) -> None:
    add(cos, Refuse())
    client.secrets["SecretKey"] = "wrong"
    assert (await client.get(KEY)).status == 503
    assert (await client.get(KEY)).status == 403


def fired(faults: Faults, method: str, key: str) -> bool:
    return faults.fire(method, key).delivery is not None


def test_times_and_skip_count_matching_requests() -> None:
    faults = Faults()
    armed = faults.add(Fault(action=Reset(), key="a/*.png", method="GET", times=2, skip=1))
    assert not fired(faults, "HEAD", "a/b.png")
    assert not fired(faults, "GET", "b.png")
    assert [fired(faults, "GET", "a/b/c.png") for _ in range(5)] == [False, True, True, False, False]
    assert (armed.matched, armed.fired) == (5, 2)


def test_no_times_is_for_ever_until_cleared() -> None:
    faults = Faults()
    faults.add(Fault(action=Reset(), times=None))
    assert all(fired(faults, "GET", "k") for _ in range(5))
    faults.clear()
    assert not fired(faults, "GET", "k")


def test_keys_are_case_sensitive() -> None:
    faults = Faults()
    faults.add(Fault(action=Reset(), key="A.png"))
    assert not fired(faults, "GET", "a.png")


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": {"kind": "explode"}},
        {"action": {"kind": "cut", "at": -1}},
        {"action": {"kind": "cut"}, "times": 0},
        {"action": {"kind": "cut"}, "unknown": 1},
        {"action": {"kind": "refuse", "status": 200}},
        {},
    ],
)
def test_impossible_faults_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate(wrong)
