"""Image processing: thumbnails and formats of imageMogr2 and imageView2 (docs 44880, 44883).

Other operations (quality, rotation, crops) and formats that Pillow cannot write have no effect. An animation becomes
its first picture. Pillow comes with the ``dev`` extra and is imported when the first image is processed.
"""

import asyncio
import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.cos_emulator.content import MemoryContent
from gateway.cos_emulator.request import CosRequest
from gateway.cos_emulator.store import StoredObject

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_SIDE = 9999
"""Pixels; the largest value in a rule."""
_LARGEST_ORIGINAL = 32 * 1024 * 1024
"""Bytes; COS's limit for processing, and a bound on the memory that an original takes here."""

_FORMATS = {
    "avif": "AVIF",
    "bmp": "BMP",
    "gif": "GIF",
    "jpeg": "JPEG",
    "jpg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
}
"""COS's name of a format -> Pillow's."""
_OPAQUE = {"BMP", "JPEG"}

_PERCENT = re.compile(r"(?:^|/)thumbnail/!(\d{1,3})p(?:/|$)", re.ASCII)
_BOX = re.compile(r"(?:^|/)thumbnail/(?P<width>\d{1,4})?x(?P<height>\d{1,4})?(?:/|$)", re.ASCII)
_VIEW = re.compile(r"2(?:/w/(?P<width>\d{1,4}))?(?:/h/(?P<height>\d{1,4}))?(?:/|$)", re.ASCII)
_FORMAT = re.compile(r"(?:^|/)format/(\w+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """Image processing rule: shrink to fit ``width`` and ``height``, or to ``percent``; never enlarge.

    ``width`` and ``height`` are in pixels; None means no limit. ``kind`` is Pillow's name of the format to save as;
    None keeps the picture's own.
    """

    width: int | None = None
    height: int | None = None
    percent: int | None = None
    kind: str | None = None

    def box(self, width: int, height: int) -> tuple[int, int]:
        """Return the box (pixels) that a picture of this size must fit in, with its proportions kept."""
        if self.percent is not None:
            return max(1, width * self.percent // 100), max(1, height * self.percent // 100)
        return self.width or _LONGEST_SIDE, self.height or _LONGEST_SIDE


def find_rule(request: CosRequest) -> Rule | None:
    """Return the first rule in the names of the query parameters, or None."""
    for name, _ in request.query:
        if (rule := _parsed(name)) != Rule():
            return rule
    return None


def _parsed(name: str) -> Rule:
    """Parse a parameter's name, in which ``|`` joins successive rules."""
    rule = Rule()
    for part in name.split("|"):
        operation, _, words = part.partition("/")
        if operation not in {"imageMogr2", "imageView2"}:
            continue
        if match := _PERCENT.search(words):
            rule = replace(rule, percent=int(match[1]))
        elif (match := _BOX.search(words)) or (match := _VIEW.match(words)):
            rule = replace(rule, width=_pixels(match["width"]), height=_pixels(match["height"]))
        if match := _FORMAT.search(words):
            rule = replace(rule, kind=_FORMATS.get(match[1]))
    return rule


async def process(stored: StoredObject, rule: Rule) -> StoredObject:
    """Return the processed object, with another ETag and no CRC; return other files than images unchanged."""
    if stored.content.size > _LARGEST_ORIGINAL:
        return stored
    original = b"".join([piece async for piece in stored.content.pieces(0, stored.content.size)])
    processed = await asyncio.to_thread(_processed, original, rule)
    if processed is None:
        return stored
    data, content_type = processed
    return replace(
        stored,
        content=MemoryContent(data),
        content_type=content_type or stored.content_type,
        etag=None,
        has_crc=False,
    )


def _processed(original: bytes, rule: Rule) -> tuple[bytes, str | None] | None:
    """Return the bytes and their new content type (None: unchanged); None if ``original`` is not an image."""
    from PIL import Image, UnidentifiedImageError

    try:
        Image.init()  # loads all plugins: without it SAVE lists only the formats used so far
        with Image.open(io.BytesIO(original)) as image:
            kind = rule.kind if rule.kind in Image.SAVE and rule.kind != image.format else None
            return _saved(image, rule, kind), Image.MIME[kind] if kind is not None else None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None


def _saved(image: "Image", rule: Rule, kind: str | None) -> bytes:
    own = image.format  # thumbnail() clears it for some formats
    image.thumbnail(rule.box(*image.size))
    if kind is not None:
        image = image.convert("RGBA" if image.has_transparency_data and kind not in _OPAQUE else "RGB")
    output = io.BytesIO()
    image.save(output, kind or own)
    return output.getvalue()


def _pixels(digits: str | None) -> int | None:
    return int(digits) if digits else None
