"""Values of image processing operations (docs 44880, 44881), parsed. An invalid value raises Refusal."""

import re

from gateway_dev.cos_emulator.image_geometry import Area, Cut, Fit, Percent, Scale, Scaling
from gateway_dev.cos_emulator.refusals import invalid_argument

_PERCENT = re.compile(r"!(?P<both>\d+)p|!(?P<width>\d+)px|!x(?P<height>\d+)p", re.ASCII)
_BOX = re.compile(r"(?P<before>!?)(?P<sides>\d*x\d*)(?P<after>[<>!r]?)", re.ASCII)
_SIDES = re.compile(r"(\d*)x(\d*)", re.ASCII)
_AREA = re.compile(r"(\d+)@", re.ASCII)
_CUT = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+)", re.ASCII)
_FITS = {
    ("", ""): Fit.INSIDE,
    ("", ">"): Fit.SHRINK,
    ("", "<"): Fit.ENLARGE,
    ("", "!"): Fit.EXACT,
    ("!", "r"): Fit.COVER,
}
_DIGITS = 9
"""Longest number. The limits of images are far below it; numbers without limit take long to convert."""


def thumbnail(value: str) -> Scaling:
    """Parse the value of ``thumbnail``."""
    if match := _PERCENT.fullmatch(value):
        sides = (match["both"] or match["width"] or "100", match["both"] or match["height"] or "100")
        return Percent(*(number(side, least=1) for side in sides))
    if match := _AREA.fullmatch(value):
        return Area(number(match[1], least=1))
    match = _matched(_BOX, "thumbnail", value)
    fit = _FITS.get((match["before"], match["after"]))
    if fit is None:
        raise _invalid("thumbnail", value)
    return Scale(*sides_of("thumbnail", match["sides"]), fit)


def sides_of(name: str, value: str) -> tuple[int | None, int | None]:
    """Parse ``WxH``, ``Wx`` or ``xH``, the value of the operation ``name``."""
    width, height = _matched(_SIDES, name, value).groups()
    if not (width or height):
        raise _invalid(name, value)
    return number(width, least=1) if width else None, number(height, least=1) if height else None


def cut(value: str) -> Cut:
    """Parse ``WxHxXxY``, the value of ``cut``."""
    width, height, left, top = _matched(_CUT, "cut", value).groups()
    return Cut(number(width, least=1), number(height, least=1), number(left), number(top))


def number(digits: str, *, least: int = 0, most: int = 10**_DIGITS) -> int:
    """Parse a decimal number from ``least`` to ``most``."""
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS and least <= int(digits) <= most):
        raise invalid_argument(f"The number {digits[:_DIGITS]!r} in the image processing rule is invalid.")
    return int(digits)


def _matched(pattern: re.Pattern[str], name: str, value: str) -> re.Match[str]:
    if (match := pattern.fullmatch(value)) is None:
        raise _invalid(name, value)
    return match


def _invalid(name: str, value: str) -> Exception:
    return invalid_argument(f"The image processing operation {name}/{value} is invalid.")
