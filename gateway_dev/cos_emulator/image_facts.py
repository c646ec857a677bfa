"""Facts about a picture, as the JSON that imageInfo and imageAve answer (460/6928). Everything here blocks."""

import hashlib
import json
from typing import TYPE_CHECKING

from gateway_dev.cos_emulator.image_decoding import decoded, frame_count, kind_of, opened
from gateway_dev.cos_emulator.image_rules import Report

if TYPE_CHECKING:
    from PIL.Image import Image


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
