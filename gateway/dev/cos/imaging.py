"""The few image processing rules that a stand-in needs: thumbnails (doc 44880). Other rules change nothing.

Pillow comes with the ``dev`` extra and is imported when the first image is processed.
"""

import asyncio
import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .content import MemoryContent
from .request import CosRequest
from .store import StoredObject

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_SIDE = 9999
"""Pixels: what the rules can name at most."""
_LARGEST_ORIGINAL = 32 * 1024 * 1024
"""Bytes: COS processes no larger ones, and here they are read into memory."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """Shrink to fit within width and height (pixels, None: not limited) or to a percentage. Never enlarges."""

    width: int | None = None
    height: int | None = None
    percent: int | None = None

    def box(self, width: int, height: int) -> tuple[int, int]:
        """The size that a picture of width x height becomes at most, its proportions kept."""
        if self.percent is not None:
            return max(1, width * self.percent // 100), max(1, height * self.percent // 100)
        return self.width or _LONGEST_SIDE, self.height or _LONGEST_SIDE


def find_rule(request: CosRequest) -> Thumbnail | None:
    """The rule among the query parameters: it is the parameter's name, its value is empty."""
    for name, _ in request.query:
        if match := re.fullmatch(r"imageMogr2/thumbnail/!(\d{1,3})p", name, re.ASCII):
            return Thumbnail(percent=int(match[1]))
        if match := re.fullmatch(r"imageMogr2/thumbnail/(\d{1,4})?x(\d{1,4})?", name, re.ASCII):
            return Thumbnail(_pixels(match[1]), _pixels(match[2]))
        if match := re.fullmatch(r"imageView2/2(?:/w/(\d{1,4}))?(?:/h/(\d{1,4}))?", name, re.ASCII):
            return Thumbnail(_pixels(match[1]), _pixels(match[2]))
    return None


async def process(stored: StoredObject, rule: Thumbnail) -> StoredObject:
    """The object made smaller, in its own format: another ETag, no CRC. What is no image comes back unchanged."""
    if stored.content.size > _LARGEST_ORIGINAL:
        return stored
    original = b"".join([piece async for piece in stored.content.pieces(0, stored.content.size)])
    processed = await asyncio.to_thread(_shrink, original, rule)
    return stored if processed is None else replace(stored, content=MemoryContent(processed), etag=None, has_crc=False)


def _shrink(original: bytes, rule: Thumbnail) -> bytes | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(original)) as image:
            return _saved(image, rule)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None


def _saved(image: "Image", rule: Thumbnail) -> bytes:
    kind = image.format  # thumbnail() forgets it for some formats
    image.thumbnail(rule.box(*image.size))
    output = io.BytesIO()
    image.save(output, kind)
    return output.getvalue()


def _pixels(digits: str | None) -> int | None:
    return int(digits) if digits else None
