"""A clean end means a whole body; any other end raises."""

import time
from contextlib import closing

import pytest

from gateway.cos_emulator.faults import Action, Chunked, Cut, Drip, Fault, Hang, Headers, NoLength, WrongLength
from gateway.cos_emulator.server import CosEmulator
from gateway.errors import OriginUnavailable
from gateway.origin.client import OriginClient
from gateway.origin.errors import BodyLost
from gateway.origin.origin_response import ContentRange
from tests.conftest import BUCKET
from tests.origin.conftest import OpenOrigin, Presign, object_body, read_all

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
    origin = await open_one(timeout=0.3)
    cos.faults.add(Fault(action=action))
    began = time.monotonic()
    came = await received_before_loss(origin, presign("old.png"))
    assert DATA.startswith(came)
    assert time.monotonic() - began < 2


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
        assert response.content_range == ContentRange(10, 19, len(DATA))


async def test_an_answer_without_a_body_ends_at_once(origin: OriginClient, presign: Presign) -> None:
    with closing(await origin.fetch(presign(method="HEAD"), method="HEAD")) as response:
        assert not response.has_body
        assert response.length == len(DATA)
        assert await response.read() == b""


async def test_a_body_that_was_lost_stays_lost(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    cos.faults.add(Fault(action=Cut(at=0)))
    with closing(await origin.fetch(presign())) as response:
        for _ in range(2):
            with pytest.raises(BodyLost):
                await response.read()
