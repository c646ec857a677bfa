"""The body of an object: its checksum, and how often a lost connection is resumed."""

import pytest
from fastcrc import crc64

from gateway.origin.client import OriginClient
from gateway.origin.errors import BodyLost
from gateway_dev.cos_emulator.faults import Cut, Fault, Headers
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET
from tests.origin.conftest import Presign, object_body, read_all

CRC = "x-cos-hash-crc64ecma"
PROGRESS = 64 * 1024  # bytes after which a body may be lost again as often as at first
DATA = bytes(range(256)) * (5 * PROGRESS // 256)


@pytest.fixture(autouse=True)
def cat(cos: CosEmulator) -> None:
    """Put the object that the tests request."""
    cos.store.put(BUCKET, "cat.png", DATA, etag="cat-1")


async def test_the_checksum_of_a_part_is_that_of_the_whole_object_and_is_not_checked(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    whole = str(crc64.xz(DATA))
    cos.faults.add(Fault(action=Headers(remove=[CRC], add=[(CRC, whole)])))
    async with object_body(origin, presign(), Range="bytes=10-19") as body:
        assert body.state.status == 206
        assert await read_all(body) == DATA[10:20]


async def test_the_checksum_of_the_whole_object_is_checked(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    cos.faults.add(Fault(action=Headers(remove=[CRC], add=[(CRC, str(crc64.xz(DATA[10:20])))])))
    async with object_body(origin, presign()) as body:
        with pytest.raises(BodyLost):
            await read_all(body)


async def test_a_body_that_progresses_by_64_kib_each_time_may_be_lost_any_number_of_times(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    cos.faults.add(Fault(action=Cut(at=PROGRESS), times=None))
    async with object_body(origin, presign(), 1) as body:
        assert await read_all(body) == DATA
    assert len(cos.request_log.requests) == len(DATA) // PROGRESS


async def test_a_body_that_progresses_by_one_byte_less_is_given_up(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    cos.faults.add(Fault(action=Cut(at=PROGRESS - 1), times=None))
    async with object_body(origin, presign(), 1) as body:
        with pytest.raises(BodyLost):
            await read_all(body)
    assert len(cos.request_log.requests) == 2
