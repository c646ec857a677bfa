"""Transfers under way leave nothing behind."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from gateway.api import app_keys
from gateway.cos_emulator.faults import Cut, Fault, Refuse
from gateway.dev.database import ImageRow
from gateway.origin.object_source import ObjectSource
from gateway.origin.transfer import Transfer
from gateway.presign.signed_image import SignedImage
from tests.conftest import Images, RunningGateway, StartGateway
from tests.waiting import until

DATA = b"x" * 300_000


async def take_off(gateway: RunningGateway) -> tuple[ObjectSource, SignedImage]:
    """The source, and an image to ask it for."""
    resolved = await gateway.app[app_keys.RESOLVER].look_up("cat")
    return gateway.app[app_keys.OBJECT_SOURCE], resolved.image


@contextmanager
def no_collector() -> Iterator[None]:
    """What is in a circle stays. So does what the log refers to while a test keeps it, hence none of that."""
    logging.disable()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def transfers_left() -> int:
    """How many there are in memory."""
    return sum(isinstance(one, Transfer) for one in gc.get_objects())


async def test_a_transfer_is_freed_with_its_last_reader_and_not_by_the_garbage_collector(
    gateway: RunningGateway, images: Images
) -> None:
    """A reference cycle would keep every body in memory until the collector comes by."""
    await images.add("cat", DATA)
    source, image = await take_off(gateway)
    with no_collector():
        for read_all in (True, False, True):
            reader = (await source.whole(image, {})).reader
            assert reader is not None
            while await reader.read() and read_all:
                pass
            reader.close()
            source.drop("cat")
            del reader
        assert transfers_left() == 0


async def test_memory_promised_to_a_transfer_is_given_back_however_it_ends(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("cat", DATA)
    source, image = await take_off(gateway)
    for read_all in (True, False):
        reader = (await source.whole(image, {})).reader
        assert reader is not None
        while await reader.read() and read_all:
            pass
        assert reader.transfer.keeps_all
        reader.close()
        source.drop("cat")
    assert source.promised_bytes == 0


async def test_nothing_is_left_of_a_transfer_that_failed(gateway: RunningGateway, images: Images) -> None:
    await images.add_row(ImageRow("cat", None, "not-there.png", public=True))
    with no_collector():
        for _ in range(3):
            assert (await gateway.get("/i/cat")).status == 404
        assert transfers_left() == 0


async def test_nor_of_one_that_broke_off(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0})
    cats = ["cat0", "cat1", "cat2"]
    for cat in cats:
        await images.add(cat, b"x" * 1_900_000)
    images.cos.faults.add(Fault(action=Cut(at=1_000_000), times=None))
    with no_collector():
        for cat in cats:
            with pytest.raises(aiohttp.ClientPayloadError):
                await gateway.get(f"/i/{cat}")
        await until(lambda: gateway.sample("inflight_requests") == 0)
        assert transfers_left() == 0


async def test_nor_of_one_that_could_not_be_opened(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 1})
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
    with no_collector():
        for _ in range(3):
            assert (await gateway.get("/i/cat")).status == 502
        assert transfers_left() == 0
