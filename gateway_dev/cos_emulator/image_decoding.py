"""Decoding of pictures with Pillow: broken, large and other files are refused. Everything here blocks.

Pillow comes with the ``dev`` extra and is imported when the first picture is processed.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway_dev.cos_emulator import image_limits as limits
from gateway_dev.cos_emulator import refusals

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP")
"""Pillow's names of the formats that COS reads; it also reads HEIF, which Pillow does not."""
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
    Image.MAX_IMAGE_PIXELS = limits.MOST_PIXELS
    with decoding():
        image = Image.open(io.BytesIO(data), formats=KINDS)
    with image:
        limits.check_original(image.size, frame_count(image))
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
