"""Pictures decoded with Pillow, and facts about them: broken, large and other files are refused. Everything blocks.

Pillow comes with the ``dev`` extra and is imported when the first picture is processed.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway_dev.cos_emulator import refusals
from gateway_dev.cos_emulator.image_geometry import Size
from gateway_dev.cos_emulator.image_rules import Report

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP")
"""Pillow's names of the formats that COS reads; it also reads HEIF, which Pillow does not."""
LARGEST_FILE = 32 * 1024 * 1024
"""Bytes of an original."""
LONGEST_SIDE = 50_000
"""Pixels of an original."""
MOST_PIXELS = 250_000_000
"""Pixels of an original, and of all frames of an animation together."""
MOST_FRAMES = 300
LONGEST_RESULT_SIDE = 9_999
"""Pixels of a result that a rule enlarges."""
LONGEST_WEBP_SIDE = 16_383
"""Pixels; the format has no larger pictures."""
_ORIENTATION = 0x0112
"""EXIF tag."""


@contextmanager
def decoding() -> Iterator[None]:
    """Raise Refusal for what Pillow raises inside: for broken files that is an exception of any type."""
    from PIL import Image

    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise refusals.image_resolution_exceeded() from None
    except Exception:  # noqa: BLE001 - Pillow lists no types
        raise refusals.invalid_image_format() from None


@contextmanager
def opened(data: bytes) -> "Iterator[Image]":
    """Open a picture from its header and check its size. Raises Refusal for broken, large and other files."""
    from PIL import Image

    # Pillow's own limit is lower. Beyond this one it warns, which is an error in tests.
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with decoding():
        image = Image.open(io.BytesIO(data), formats=KINDS)
    with image:
        check_original(image.size, frame_count(image))
        yield image


def frame_count(image: "Image") -> int:
    """Return the number of frames, 1 for a still picture. Raises Refusal if the file is broken."""
    if kind_of(image) == "JPEG":
        return 1
    with decoding():
        return int(getattr(image, "n_frames", 1))


def kind_of(image: "Image") -> str:
    """Return Pillow's name of the format; the JPEG of a camera may contain further pictures (MPO)."""
    return "JPEG" if image.format in {None, "MPO"} else str(image.format)


def decoded(image: "Image") -> "Image":
    """Return the current frame in mode L, RGB or RGBA. Raises Refusal if the file is broken."""
    with decoding():
        image.load()
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip to 8
        picture = image.point(lambda value: value / 256).convert("L")
    else:
        picture = image.convert("RGBA" if image.has_transparency_data else "L" if image.mode in {"1", "L"} else "RGB")
    if image.mode == "CMYK":
        picture.info.pop("icc_profile", None)  # it describes the inks
    return _with_readable_exif(picture)


def _with_readable_exif(picture: "Image") -> "Image":
    """Return the picture, without its EXIF if that is broken."""
    try:
        picture.getexif().tobytes()
    except Exception:  # noqa: BLE001 - as in decoding()
        picture = picture.copy()  # without what getexif() remembers
        picture.info.pop("exif", None)
    return picture


def orientation_of(image: "Image") -> object:
    """Return the EXIF orientation, or None if there is none or it cannot be read."""
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - as in decoding(); a PNG is decoded here, and refused by decoded()
        return None


def check_file(size: int) -> None:
    """Raise Refusal if a file of ``size`` bytes is too large to be processed."""
    if size > LARGEST_FILE:
        raise refusals.image_too_large()


def check_original(size: Size, frames: int) -> None:
    """Raise Refusal if a picture of this size and number of frames is too large to be processed."""
    width, height = size
    if max(size) > LONGEST_SIDE or width * height * frames > MOST_PIXELS or frames > MOST_FRAMES:
        raise refusals.image_resolution_exceeded()


def check_enlarged(before: Size, after: Size) -> None:
    """Raise Refusal if an operation would enlarge a side beyond the limit of results."""
    if any(LONGEST_RESULT_SIDE < new > old for old, new in zip(before, after, strict=True)):
        raise refusals.invalid_argument(f"The result is over {LONGEST_RESULT_SIDE} pixels wide or high.")


def check_saved(size: Size, kind: str) -> None:
    """Raise Refusal if the format, by Pillow's name, cannot hold a picture of this size."""
    if kind == "WEBP" and max(size) > LONGEST_WEBP_SIDE:
        raise refusals.image_resolution_exceeded()


def report(data: bytes, wanted: Report) -> bytes:
    """Return the JSON about a picture. Raises Refusal for other files, as processing does.

    Width and height are those in the file, whatever its EXIF orientation. What COS does is not documented.
    """
    with opened(data) as image:
        facts = {}
        if wanted is Report.INFO:
            width, height = image.size
            facts = {
                "format": kind_of(image).lower(),
                "width": str(width),
                "height": str(height),
                "size": str(len(data)),
                "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
                "frame_count": str(frame_count(image)),
            }
        facts["photo_rgb" if wanted is Report.INFO else "RGB"] = _average(decoded(image))
    return json.dumps(facts).encode()


def _average(picture: "Image") -> str:
    """Return the average colour as ``0xRRGGBB``."""
    from PIL import Image

    return "0x" + picture.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes().hex()
