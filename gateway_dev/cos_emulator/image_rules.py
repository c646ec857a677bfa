"""Image processing rules, parsed from the names of query parameters (docs 44880, 44881, 44883, 42704).

A rule is one or more stages joined by ``|``: ``imageMogr2/auto-orient/thumbnail/640x>/format/webp|imageInfo``. An
operation that COS does not document is refused with 400. An operation that COS documents and the emulator does not
apply has no effect. Which error COS has for an unknown operation is not documented.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from gateway_dev.cos_emulator.image_geometry import (
    GRAVITIES,
    Area,
    AutoOrient,
    Crop,
    Cut,
    Fit,
    Operation,
    Percent,
    Rotate,
    Scale,
    Scaling,
)
from gateway_dev.cos_emulator.refusals import invalid_argument
from gateway_dev.cos_emulator.request import CosRequest

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
_FORMATS = {"avif": "AVIF", "bmp": "BMP", "gif": "GIF", "jpeg": "JPEG", "jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
"""COS's name of a format -> Pillow's."""
_WITHOUT_EFFECT = frozenset(
    {
        "blur",
        "bright",
        "cgif",
        "color",
        "contrast",
        "grayscale",
        "interlace",
        "iradius",
        "lquality",
        "pad",
        "rquality",
        "rradius",
        "scrop",
        "sharpen",
        "size-limit",
    }
)
"""Documented operations with one value that the emulator does not apply."""


class Report(Enum):
    """Facts about a picture that COS answers as JSON in its place."""

    INFO = auto()
    AVERAGE = auto()


_REPORTS = {"imageInfo": Report.INFO, "imageAve": Report.AVERAGE}


@dataclass(frozen=True, slots=True)
class Rule:
    """Operations in their order, and the form of the result. The empty rule leaves an object as it is."""

    operations: tuple[Operation, ...] = ()
    kind: str | None = None
    """Pillow's name of the format to save as; None keeps the picture's own."""
    quality: int | None = None
    """1 to 100; None is the default of the format."""
    strip: bool = False
    """Remove EXIF and other metadata."""
    report: Report | None = None
    """Answer these facts about the result instead of the result."""
    ignore_error: bool = False
    """Answer the original if the processing fails (doc 42704)."""

    @property
    def is_empty(self) -> bool:
        return replace(self, ignore_error=False) == Rule()


def find_rule(request: CosRequest) -> Rule | None:
    """Return the first rule in the names of the query parameters, or None. Raises Refusal for an invalid one."""
    for name, _ in request.query:
        if (rule := parse_rule(name)) is not None and not rule.is_empty:
            return rule
    return None


def parse_rule(name: str) -> Rule | None:
    """Parse a parameter's name; return None if it is no rule, raise Refusal if it is an invalid one."""
    stages = name.split("|")
    if stages[0].partition("/")[0] not in _STAGES:
        return None
    rule = Rule()
    for stage in stages:
        processor, _, words = stage.partition("/")
        if rule.report is not None or processor not in _STAGES:
            raise invalid_argument(f"The image processing rule is invalid at {processor!r}.")
        rule = _STAGES[processor](rule, processor, [word for word in words.split("/") if word])
    return rule


def _mogr(rule: Rule, _processor: str, words: list[str]) -> Rule:
    operations: list[Operation] = []
    gravity = None
    for name, value in _pairs(words, flags={"auto-orient", "strip"}):
        match name:
            case "auto-orient":
                operations.append(AutoOrient())
            case "strip":
                rule = replace(rule, strip=True)
            case "thumbnail":
                operations.append(thumbnail(value))
            case "crop":
                width, height = sides_of(name, value)
                operations.append(Crop(width, height))
            case "cut":
                operations.append(cut(value))
            case "rotate":
                operations.append(Rotate(number(value, most=360)))
            case "gravity" if value.lower() in GRAVITIES:
                gravity = value.lower()
            case _:
                rule = _set(rule, name, value)
    if gravity is not None:  # it may follow the crop that it belongs to
        operations = [replace(made, gravity=gravity) if isinstance(made, Crop) else made for made in operations]
    return replace(rule, operations=(*rule.operations, *operations))


def _view(rule: Rule, _processor: str, words: list[str]) -> Rule:
    mode, *rest = words or [""]
    if mode not in {"0", "1", "2", "3", "4", "5"}:
        raise invalid_argument("The mode of imageView2 is invalid.")
    width = height = None
    for name, value in _pairs(rest, flags=set()):
        if name == "w":
            width = number(value)
        elif name == "h":
            height = number(value)
        else:
            rule = _set(rule, "quality" if name == "q" else name, value)
    if width is None and height is None:
        return rule
    operation: Operation = Scale(width, height, Fit.SHRINK)
    if mode in {"1", "5"}:
        operation = Crop(width, height, "center")
    elif mode in {"3", "4"}:
        operation = Scale(width, height, Fit.SHRINK_COVER)
    return replace(rule, operations=(*rule.operations, operation))


def _report(rule: Rule, processor: str, words: list[str]) -> Rule:
    if words:
        raise invalid_argument(f"{processor} takes no value.")
    return replace(rule, report=_REPORTS[processor])


def _watermark(rule: Rule, _processor: str, _words: list[str]) -> Rule:
    return rule


_STAGES: dict[str, Callable[[Rule, str, list[str]], Rule]] = {
    "imageMogr2": _mogr,
    "imageView2": _view,
    "imageInfo": _report,
    "imageAve": _report,
    "watermark": _watermark,
}


def _set(rule: Rule, name: str, value: str) -> Rule:
    """Return the rule with a setting that both processors have. Raises Refusal for an unknown one."""
    match name:
        case "format" if value in _FORMATS:
            return replace(rule, kind=_FORMATS[value])
        case "quality":
            return replace(rule, quality=number(value.removesuffix("!"), least=1, most=100))
        case "ignore-error" if value in {"0", "1"}:
            return replace(rule, ignore_error=value == "1")
        case _ if name in _WITHOUT_EFFECT:
            return rule
    raise invalid_argument(f"The image processing operation {name}/{value} is invalid.")


def _pairs(words: list[str], *, flags: set[str]) -> Iterator[tuple[str, str]]:
    """Yield names with their values; the value of a flag is empty. Raise Refusal if the last value is missing."""
    rest = iter(words)
    for name in rest:
        value = "" if name in flags else next(rest, None)
        if value is None:
            raise invalid_argument(f"The value of the image processing operation {name} is missing.")
        yield name, value


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
