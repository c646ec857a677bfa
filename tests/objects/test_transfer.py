"""Shared transfers release their memory, however they end."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from gateway.objects.object_source import ObjectSource, SharedTransfer
from gateway.presign.signer import AuthorizedImage
from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Cut, Drip, Fault, Refuse
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.stories.content import add_large
from tests.waiting import until

DATA = b"x" * 300_000


async def source_and_image(gateway: RunningGateway) -> tuple[ObjectSource, AuthorizedImage]:
    """Return the source, and an image whose object it can fetch."""
    resolved = await gateway.resolver.look_up("cat")
    return gateway.source, AuthorizedImage(resolved.image)


@contextmanager
def no_collector() -> Iterator[None]:
    """Switch off the garbage collector, which frees reference cycles, and the log, whose records hold objects."""
    logging.disable()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def transfers_left() -> int:
    """Return how many transfers are in memory."""
    return sum(isinstance(found, SharedTransfer) for found in gc.get_objects())


async def test_a_transfer_is_freed_with_its_last_reader_and_not_by_the_garbage_collector(
    gateway: RunningGateway, images: Images
) -> None:
    """A reference cycle would keep every body in memory until the collector runs."""
    await images.add("cat", DATA)
    source, image = await source_and_image(gateway)
    with no_collector():
        for read_all in (True, False, True):
            reader = await source.join(image, {})
            while await reader.read() and read_all:
                pass
            reader.close()
            gateway.forget("cat")
            del reader
        assert transfers_left() == 0


async def test_a_transfer_that_broke_off_is_freed(start_gateway: StartGateway, images: Images) -> None:
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


async def test_a_transfer_that_could_not_be_opened_is_freed(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 1})
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
    with no_collector():
        for _ in range(3):
            assert (await gateway.get("/i/cat")).status == 502
        assert transfers_left() == 0


async def test_a_reader_whose_client_is_blocked_does_not_hold_back_another_that_waits_for_cos(
    gateway: RunningGateway, images: Images
) -> None:
    """It may hold COS back while it is alone. The image is too large for memory, where it would be fetched whole."""
    await add_large(images, SyntheticContent(3_000_000), "cat")
    images.cos.faults.add(Fault(action=Drip(size=100_000, every=0.5)))
    source, image = await source_and_image(gateway)
    blocked, other = await source.join(image, {}), await source.join(image, {})
    await blocked.read()
    received = 0
    while received < 100_000:
        received += len(await other.read())
    waiting = asyncio.create_task(other.read(), name="other")
    await asyncio.sleep(0)  # it waits for the next bytes
    blocked.suit(has_unsent=True, is_blocked=True)
    async with asyncio.timeout(LIMIT):
        assert await waiting
    blocked.close()
    other.close()
