"""Pictures for the tests of image processing."""

import io
import struct
import zlib
from typing import Any

from PIL import Image

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)
CORNERS = (RED, GREEN, BLUE, GREY)


def gradient(width: int, height: int, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture whose every column differs."""
    return encoded(Image.linear_gradient("L").resize((width, height)).convert("RGB"), kind, **options)


def quarters(width: int, height: int) -> Image.Image:
    """Return a picture with CORNERS in its quarters: top left, top right, bottom left, bottom right."""
    image = Image.new("RGB", (2, 2))
    image.putdata(CORNERS)
    return image.resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    """Return EXIF with this orientation and the name of a camera."""
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010F] = "Camera"
    return made


def opened(data: bytes) -> Image.Image:
    """Decode a picture; fail if it is broken."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def corners(image: Image.Image) -> tuple[str, ...]:
    """Return the names of the nearest colours near the four corners, in the order of CORNERS."""
    width, height = image.size
    rgb = image.convert("RGB")
    places = ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8))
    return tuple(_name(rgb.getpixel((int(x * width), int(y * height)))) for x, y in places)


def header_of_png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG of this size: its header and no pixels, so that decoding it fails."""
    fields = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + fields + struct.pack(">I", zlib.crc32(fields))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I4s", 1000, b"IDAT")


def _name(colour: Any) -> str:
    names = dict(zip(("red", "green", "blue", "grey"), CORNERS, strict=True))
    return min(names, key=lambda name: sum(abs(a - b) for a, b in zip(names[name], colour, strict=True)))
