"""Bodies whose length, encoding or checksum is wrong or missing."""

import gzip

import pytest

from gateway_dev.cos_emulator.faults import Chunked, Fault, Gzip, NoLength, WrongLength
from gateway_dev.cos_emulator.faults import Headers as AddedHeaders
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway
from tests.stories.content import LARGE, SMALL, add_large, read_interrupted


async def test_a_body_of_another_length_than_announced_is_interrupted_before_the_last_byte_announced(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    for by, most in ((-1000, LARGE.size - 1001), (1000, LARGE.size)):
        await add_large(images, image_id=f"a{by}")
        cos.faults.add(Fault(action=WrongLength(by=by), times=None, key=f"objects/a{by}.png"))
        assert len(await read_interrupted(gateway, f"/i/a{by}")) <= most


async def test_a_chunked_body_arrives_complete(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    await add_large(images)
    cos.faults.add(Fault(action=Chunked()))
    answer = await gateway.get("/i/a")
    assert answer.body == LARGE.read(0, LARGE.size)
    assert "Content-Length" not in answer.headers


@pytest.mark.parametrize("cut_at", [None, 1_000_000])
async def test_a_body_that_ends_with_its_connection_is_verified_by_its_checksum(
    gateway: RunningGateway, images: Images, cos: CosEmulator, cut_at: int | None
) -> None:
    """With neither length nor chunks, a lost connection looks like the end of the body."""
    await add_large(images)
    cos.faults.add(Fault(action=NoLength(cut_at=cut_at)))
    assert (await gateway.get("/i/a")).body == LARGE.read(0, LARGE.size)
    assert len(cos.request_log.requests) == (1 if cut_at is None else 2)


async def test_a_body_without_length_chunks_and_checksum_is_refused(gateway: RunningGateway, images: Images) -> None:
    await add_large(images)
    images.cos.faults.add(Fault(action=AddedHeaders(remove=["x-cos-hash-crc64ecma"])))
    images.cos.faults.add(Fault(action=NoLength()))
    assert (await gateway.get("/i/a")).status == 502


@pytest.mark.parametrize("data", [SMALL, b"x" * 3_000_000], ids=["small", "large"])
async def test_a_body_with_a_wrong_checksum_is_never_completed_nor_cached(
    gateway: RunningGateway, images: Images, cos: CosEmulator, data: bytes
) -> None:
    await images.add("a", data)
    crc = "x-cos-hash-crc64ecma"
    cos.faults.add(Fault(action=AddedHeaders(remove=[crc], add=[(crc, "1")]), times=None))
    if data is SMALL:
        assert (await gateway.get("/i/a")).status == 502
    else:
        assert len(await read_interrupted(gateway)) < len(data)
    cos.faults.clear()
    assert (await gateway.get("/i/a")).body == data  # and nothing of it was kept


async def test_a_body_that_cos_compressed_unasked_is_refused(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", SMALL)
    images.cos.faults.add(Fault(action=Gzip(), times=None))
    assert (await gateway.get("/i/a")).status == 502


async def test_an_object_stored_compressed_is_sent_as_it_is(gateway: RunningGateway, images: Images) -> None:
    """Decompressing would make Content-Encoding and Content-Length wrong."""
    packed = gzip.compress(b"<svg/>" * 100)
    await images.add("a", packed, content_type="image/svg+xml", headers={"Content-Encoding": "gzip"})
    for _ in range(2):
        answer = await gateway.get("/i/a")
        assert (answer.body, answer.headers["Content-Encoding"]) == (packed, "gzip")
