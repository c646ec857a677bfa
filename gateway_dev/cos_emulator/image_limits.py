"""Limits of image processing, checked from a file's size and header before any pixel is decoded.

The documents differ by age. 32 MB, 50,000 pixels a side and 250 million pixels in all are the limits of 2025
(1045/40716). 300 frames and 9,999 pixels a side of the result are the limits of documents 44880 and 44881.
"""

from gateway_dev.cos_emulator import refusals
from gateway_dev.cos_emulator.image_geometry import Size

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
