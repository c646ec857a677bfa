"""Transfers under way leave nothing behind."""

import gc

from gateway.api import keys
from gateway.origin.body import ObjectBody
from gateway.origin.source import ObjectSource
from gateway.origin.transfer import Reader, Transfer
from gateway.urls.presigned import SignedImage
from tests.conftest import Images, RunningGateway

DATA = b"x" * 300_000


async def take_off(gateway: RunningGateway) -> tuple[ObjectSource, SignedImage]:
    """The source, and an image to ask it for."""
    resolved = await gateway.app[keys.RESOLVER].look_up("cat")
    return gateway.app[keys.OBJECT_SOURCE], resolved.image


async def test_a_transfer_is_freed_with_its_last_reader_and_not_by_the_garbage_collector(
    gateway: RunningGateway, images: Images
) -> None:
    """A reference cycle would keep every body in memory until the collector comes by."""
    await images.add("cat", DATA)
    source, image = await take_off(gateway)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for read_all in (True, False, True):
            _, reader = await source.whole(image, {})
            assert isinstance(reader, Reader)
            while await reader.read() and read_all:
                pass
            reader.close()
            source.drop("cat")
            del reader
        gc.collect()
        left = [type(found).__name__ for found in gc.garbage if isinstance(found, Transfer | Reader | ObjectBody)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


async def test_memory_promised_to_a_transfer_is_given_back_however_it_ends(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("cat", DATA)
    source, image = await take_off(gateway)
    for read_all in (True, False):
        _, reader = await source.whole(image, {})
        assert isinstance(reader, Reader)
        while await reader.read() and read_all:
            pass
        assert reader.transfer.keeps_all
        reader.close()
        source.drop("cat")
    assert source.promised_bytes == 0
