"""Images of two sizes for the stories of delivery, and what COS and clients saw of them."""

import aiohttp
import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway

KEY = "objects/a.png"
SMALL = bytes(range(256)) * 40
LARGE = SyntheticContent(5_000_000)
NO_MEMORY = {"max_bytes": 0}
ALWAYS_REVALIDATE = {"ttl": 0}


async def add_large(images: Images, content: SyntheticContent = LARGE, image_id: str = "a") -> None:
    """Add a public image that is too large for the memory cache."""
    await content.digests()  # here, not while a time-out of the gateway runs
    images.cos.store.put(BUCKET, f"objects/{image_id}.png", content)
    await images.add_row(ImageRow(image_id, None, f"objects/{image_id}.png", public=True))


def requests_to(cos: CosEmulator) -> list[tuple[str, str | None]]:
    """Method and Range of every request that COS has received."""
    return [(seen.method, seen.range) for seen in cos.request_log.requests]


async def read_interrupted(gateway: RunningGateway, path: str = "/i/a") -> bytes:
    """Return the received part of an answer that begins with 200; fail if the answer is completed."""
    received = bytearray()
    async with gateway.session.get(gateway.ports.public + path) as answer:
        assert answer.status == 200
        try:
            async for piece in answer.content.iter_any():
                received += piece
        except (aiohttp.ClientPayloadError, aiohttp.ClientOSError):
            return bytes(received)
    pytest.fail("the answer was completed")
