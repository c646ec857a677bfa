"""The few image processing rules that an emulator needs: thumbnails and formats (docs 44880, 44883).

All else in a rule (quality, rotation, crops) changes nothing, nor does a format that Pillow cannot write. An animation
becomes its first picture. Pillow comes with the ``dev`` extra and is imported when the first image is processed.
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
"""Pixels: what the rules can name at most."""
_LARGEST_ORIGINAL = 32 * 1024 * 1024
"""Bytes: COS processes no larger ones, and here they are read into memory."""


_FORMATS = {
    "avif": "AVIF",
    "bmp": "BMP",
    "gif": "GIF",
    "jpeg": "JPEG",
    "jpg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
}
"""Pillow's name of what COS calls so."""
_OPAQUE = {"BMP", "JPEG"}

_PERCENT = re.compile(r"(?:^|/)thumbnail/!(\d{1,3})p(?:/|$)", re.ASCII)
_BOX = re.compile(r"(?:^|/)thumbnail/(?P<width>\d{1,4})?x(?P<height>\d{1,4})?(?:/|$)", re.ASCII)
_VIEW = re.compile(r"2(?:/w/(?P<width>\d{1,4}))?(?:/h/(?P<height>\d{1,4}))?(?:/|$)", re.ASCII)
_FORMAT = re.compile(r"(?:^|/)format/(\w+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """Shrink to fit within width and height (pixels, None: not limited) or to a percentage; never enlarges.

    Then save as ``kind``, in Pillow's words; None is the picture's own.
    """

    width: int | None = None
    height: int | None = None
    percent: int | None = None
    kind: str | None = None

    def box(self, width: int, height: int) -> tuple[int, int]:
        """The size that a picture of width x height becomes at most, its proportions kept."""
        if self.percent is not None:
            return max(1, width * self.percent // 100), max(1, height * self.percent // 100)
        return self.width or _LONGEST_SIDE, self.height or _LONGEST_SIDE


def find_rule(request: CosRequest) -> Rule | None:
    """The rule among the query parameters: it is the parameter's name, its value is empty."""
    for name, _ in request.query:
        if (rule := _parsed(name)) != Rule():
            return rule
    return None


def _parsed(name: str) -> Rule:
    """What the parameter's name says; several rules are joined by ``|`` and follow each other."""
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
    """The object as the rule has it: another ETag, no CRC. What is no image comes back unchanged."""
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
    """The bytes, and their type if it is another now; None for what is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        Image.init()  # or it knows only the formats that it has met
        with Image.open(io.BytesIO(original)) as image:
            kind = rule.kind if rule.kind in Image.SAVE and rule.kind != image.format else None
            return _saved(image, rule, kind), Image.MIME[kind] if kind is not None else None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None


def _saved(image: "Image", rule: Rule, kind: str | None) -> bytes:
    own = image.format  # thumbnail() forgets it for some formats
    image.thumbnail(rule.box(*image.size))
    if kind is not None:
        image = image.convert("RGBA" if image.has_transparency_data and kind not in _OPAQUE else "RGB")
    output = io.BytesIO()
    image.save(output, kind or own)
    return output.getvalue()


def _pixels(digits: str | None) -> int | None:
    return int(digits) if digits else None
