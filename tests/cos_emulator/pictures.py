"""Pictures for the tests of image processing."""

import io
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
