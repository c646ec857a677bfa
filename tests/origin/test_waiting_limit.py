"""Requests that wait for one bucket take no place from another."""

import asyncio
from contextlib import closing

import pytest

from gateway.errors import OriginPaused, OriginTimeout
from gateway.origin.client import open_origin
from gateway.service.metrics import Metrics
from gateway.settings import ImageProxySettings, Live
from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET
from tests.origin.conftest import Presign
from tests.waiting import until


async def test_of_several_buckets_a_hanging_one_keeps_half_of_the_places(presign: Presign, cos: CosEmulator) -> None:
    cos.store.put(BUCKET, "cat.png", b"data")
    cos.store.put(BUCKET, "dog.png", b"data")
    cos.faults.add(Fault(action=Hang(), key="dog.png", times=None))
    settings = ImageProxySettings(timeout=2, retry_count=0)
    opening = open_origin(
        Live(settings), max_connections=8, metrics=Metrics().origin, buckets=[BUCKET, "other-1250000000"]
    )
    async with opening as origin, asyncio.TaskGroup() as group:
        waiting = [group.create_task(_outcome(origin.fetch(presign("dog.png"), "other-1250000000"))) for _ in range(4)]
        await until(lambda: len(cos.request_log.of("dog.png")) == 4)
        with pytest.raises(OriginPaused):
            await origin.fetch(presign("dog.png"), "other-1250000000")
        with closing(await origin.fetch(presign(), bucket=BUCKET)) as response:
            assert await response.read() == b"data"
        assert [await task for task in waiting] == [OriginTimeout] * 4
        with pytest.raises(OriginTimeout):
            await origin.fetch(presign("dog.png"), "other-1250000000")
    assert not origin._waiting


async def test_one_bucket_has_every_place(presign: Presign, cos: CosEmulator) -> None:
    cos.store.put(BUCKET, "dog.png", b"data")
    cos.faults.add(Fault(action=Hang(), key="dog.png", times=None))
    settings = ImageProxySettings(timeout=0.5, retry_count=0)
    async with open_origin(Live(settings), max_connections=8, metrics=Metrics().origin, buckets=[BUCKET]) as origin:
        outcomes = await asyncio.gather(*(_outcome(origin.fetch(presign("dog.png"), BUCKET)) for _ in range(8)))
    assert outcomes == [OriginTimeout] * 8


async def _outcome(fetching: object) -> type[BaseException] | None:
    try:
        await fetching  # type: ignore[misc]
    except OriginTimeout as error:
        return type(error)
    return None
