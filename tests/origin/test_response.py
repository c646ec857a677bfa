"""A clean end means a whole body; everything else is told."""

import time

import pytest

from gateway.dev.cos.faults import Action, Chunked, Cut, Drip, Fault, Hang, Headers, NoLength, WrongLength
from gateway.dev.cos.server import CosStandIn
from gateway.errors import OriginUnavailable
from gateway.origin.client import OriginClient
from gateway.origin.errors import BodyLost
from gateway.origin.response import PIECE, ContentRange
from tests.conftest import BUCKET
from tests.origin.conftest import OpenOrigin, Presign

DATA = bytes(range(256)) * 1000
CRC = "x-cos-hash-crc64ecma"


@pytest.fixture(autouse=True)
def cat(cos: CosStandIn) -> None:
    """The object that the tests ask for, and one without a checksum."""
    cos.store.put(BUCKET, "cat.png", DATA)
    cos.store.put(BUCKET, "old.png", DATA, has_crc=False)


async def received(origin: OriginClient, url: str, **headers: str) -> bytes:
    """The body, read to its end."""
    async with origin.open(url, headers=headers) as response:
        return b"".join([piece async for piece in response.pieces()])


async def received_before_loss(origin: OriginClient, url: str) -> bytes:
    """What came of a body that must be lost."""
    pieces: list[bytes] = []
    with pytest.raises(BodyLost):  # noqa: PT012 - the pieces before it are looked at
        async with origin.open(url) as response:
            async for piece in response.pieces():
                pieces.append(piece)  # noqa: PERF401 - a comprehension would keep nothing
    return b"".join(pieces)


async def test_a_body_comes_in_pieces_of_bounded_size(origin: OriginClient, presign: Presign) -> None:
    async with origin.open(presign()) as response:
        pieces = [piece async for piece in response.pieces()]
    assert b"".join(pieces) == DATA
    assert max(map(len, pieces)) <= PIECE


@pytest.mark.parametrize("action", [Chunked(), NoLength(), Drip(size=100_000, every=0.01), WrongLength(by=0)])
@pytest.mark.parametrize("key", ["cat.png", "old.png"])
async def test_a_whole_body_is_whole_however_it_comes(
    origin: OriginClient, presign: Presign, cos: CosStandIn, action: Action, key: str
) -> None:
    cos.faults.add(Fault(action=action))
    if key == "old.png" and isinstance(action, NoLength):
        with pytest.raises(OriginUnavailable):
            await received(origin, presign(key))
    else:
        assert await received(origin, presign(key)) == DATA


@pytest.mark.parametrize(
    "action", [Cut(at=100_000), Cut(at=100_000, reset=True), Cut(at=0), WrongLength(by=1), Hang(at=100_000)]
)
@pytest.mark.parametrize("key", ["cat.png", "old.png"])
async def test_a_body_that_ends_short_is_lost(
    open_one: OpenOrigin, presign: Presign, cos: CosStandIn, action: Action, key: str
) -> None:
    origin = await open_one(timeout=0.3)
    cos.faults.add(Fault(action=action))
    began = time.monotonic()
    came = await received_before_loss(origin, presign(key))
    assert DATA.startswith(came)
    assert time.monotonic() - began < 2


async def test_lesson_2_a_body_whose_framing_cannot_show_its_end_is_checked_by_its_checksum(
    origin: OriginClient, presign: Presign, cos: CosStandIn
) -> None:
    cos.faults.add(Fault(action=NoLength(cut_at=100_000)))
    assert DATA.startswith(await received_before_loss(origin, presign()))


async def test_lesson_2_a_body_with_neither_framing_nor_checksum_is_not_taken_at_all(
    origin: OriginClient, presign: Presign, cos: CosStandIn
) -> None:
    cos.faults.add(Fault(action=NoLength(cut_at=100_000)))
    with pytest.raises(OriginUnavailable):
        await received(origin, presign("old.png"))


@pytest.mark.parametrize("delivery", [None, Chunked()])
async def test_bytes_that_do_not_have_the_checksum_are_lost(
    origin: OriginClient, presign: Presign, cos: CosStandIn, delivery: Chunked | None
) -> None:
    cos.faults.add(Fault(action=Headers(remove=[CRC], add=[(CRC, "12345")])))
    if delivery is not None:
        cos.faults.add(Fault(action=delivery))
    came = await received_before_loss(origin, presign())
    if delivery is None:
        assert len(came) < len(DATA), "the last piece is held back: with it, a client would have a whole body"


async def test_the_checksum_of_the_whole_does_not_count_against_a_part(
    origin: OriginClient, presign: Presign, cos: CosStandIn
) -> None:
    assert await received(origin, presign(), Range="bytes=1000-") == DATA[1000:]
    assert await received(origin, presign(), Range="bytes=-10") == DATA[-10:]


@pytest.mark.parametrize("checksum", ["", "-1", "abc", "1.5", "9" * 5000, "²"])
async def test_a_checksum_that_is_no_number_is_none(
    origin: OriginClient, presign: Presign, cos: CosStandIn, checksum: str
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
async def test_a_part_that_does_not_say_rightly_which_is_not_taken(
    origin: OriginClient, presign: Presign, cos: CosStandIn, content_range: str | None
) -> None:
    add = [] if content_range is None else [("Content-Range", content_range)]
    cos.faults.add(Fault(action=Headers(remove=["Content-Range"], add=add)))
    with pytest.raises(OriginUnavailable):
        await received(origin, presign(), Range="bytes=0-9")


async def test_a_part_without_a_length_is_not_taken(origin: OriginClient, presign: Presign, cos: CosStandIn) -> None:
    cos.faults.add(Fault(action=NoLength()))
    with pytest.raises(OriginUnavailable):
        await received(origin, presign(), Range="bytes=0-9")


async def test_a_range_is_read_and_written_alike(origin: OriginClient, presign: Presign) -> None:
    async with origin.open(presign(), headers={"Range": "bytes=10-19"}) as response:
        assert response.headers.content_range == ContentRange(10, 19, len(DATA))
        assert str(response.headers.content_range) == f"bytes 10-19/{len(DATA)}"


async def test_an_answer_without_a_body_has_no_pieces(origin: OriginClient, presign: Presign) -> None:
    async with origin.open(presign(method="HEAD"), method="HEAD") as response:
        assert not response.has_body
        assert response.headers.length == len(DATA)
        assert [piece async for piece in response.pieces()] == []
