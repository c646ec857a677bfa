"""Pixels: one picture decoded, changed by a rule and encoded again. Everything here blocks."""

import io
from math import ceil
from typing import TYPE_CHECKING, Any

from gateway_dev.cos_emulator.image_decoding import (
    check_enlarged,
    check_saved,
    decoded,
    decoding,
    frame_count,
    kind_of,
    opened,
    orientation_of,
)
from gateway_dev.cos_emulator.image_geometry import (
    Area,
    AutoOrient,
    Crop,
    Cut,
    Operation,
    Percent,
    Rotate,
    Scale,
    Size,
)
from gateway_dev.cos_emulator.image_rules import Rule

if TYPE_CHECKING:
    from PIL.Image import Image

_ANIMATED = {"GIF", "WEBP"}
_OPAQUE = {"BMP", "JPEG"}
_METADATA = ("exif", "xmp")
"""Pillow's names of the metadata that ``strip`` removes. The colour profile stays: without it colours change."""
_AVIF_SPEED = 8
"""Pillow's default, 6, takes twice the time for a few per cent fewer bytes."""
_EXIF_PREFIX = b"Exif\0\0"
_SIDEWAYS = {5, 6, 7, 8}
"""EXIF orientations that exchange width and height."""
_LONGEST_FRAME = 655_350
"""Milliseconds that a frame of a GIF can last."""


def apply(data: bytes, rule: Rule) -> tuple[bytes, str]:
    """Return the picture after the rule, and its content type. Raises Refusal if there is none."""
    with opened(data) as image:
        kind = rule.kind or kind_of(image)
        first = _changed(image, rule.operations)
        settings = _settings(first, rule)
        if kind in _ANIMATED and (count := frame_count(image)) > 1:
            settings |= _animation(image, rule, count)
    check_saved(first.size, kind)
    if kind in _OPAQUE and first.mode == "RGBA":
        first = _on_white(first)
    output = io.BytesIO()
    first.save(output, kind, **settings)
    return output.getvalue(), f"image/{kind.lower()}"


def _changed(image: "Image", operations: tuple[Operation, ...]) -> "Image":
    """Return the current frame after the operations. Raises Refusal if one of them is impossible."""
    from PIL import ImageOps

    is_sideways = orientation_of(image) in _SIDEWAYS
    size = image.size
    _decode_small(image, operations, is_sideways=is_sideways)
    picture = decoded(image)
    for operation in operations:
        match operation:
            case AutoOrient():
                picture = ImageOps.exif_transpose(picture)
                size, is_sideways = size[::-1] if is_sideways else size, False
            case Rotate(degrees=degrees):
                picture = picture.rotate(-degrees, expand=True)
                size = picture.size
            case Cut():
                picture = picture.crop(operation.box(size))
                size = picture.size
            case Crop():
                scaled, box = operation.plan(size)
                picture = _resized(picture, scaled).crop(box)
                size = picture.size
            case _:
                scaled = operation.size(size)
                check_enlarged(size, scaled)
                picture, size = _resized(picture, scaled), scaled
    return picture


def _decode_small(image: "Image", operations: tuple[Operation, ...], *, is_sideways: bool) -> None:
    """Let the decoder of a JPEG skip detail that the first scaling drops: a photo then takes a third of the time."""
    rest = operations[1:] if operations[:1] == (AutoOrient(),) else operations
    upright = image.size[::-1] if is_sideways and rest is not operations else image.size
    match rest[:1]:
        case (Scale() | Percent() | Area() as scaling,):
            wanted = scaling.size(upright)
        case (Crop() as crop,) if crop.width and crop.height:
            wanted, _ = crop.plan(upright)
        case _:
            return
    ratio = 2 * max(new / old for new, old in zip(wanted, upright, strict=True))
    image.draft(None, (ceil(image.size[0] * ratio), ceil(image.size[1] * ratio)))


def _resized(picture: "Image", size: Size) -> "Image":
    return picture if picture.size == size else picture.resize(size, reducing_gap=2.0)


def _settings(picture: "Image", rule: Rule) -> dict[str, Any]:
    """Return Pillow's options for saving the picture."""
    settings: dict[str, Any] = {"speed": _AVIF_SPEED}
    if "icc_profile" in picture.info:
        settings["icc_profile"] = picture.info["icc_profile"]
    if rule.quality is not None:
        settings["quality"] = rule.quality
    if not rule.strip:
        settings |= {name: picture.info[name] for name in _METADATA if name in picture.info}
        if "exif" in settings:  # only a JPEG keeps the prefix, and only a JPEG needs it
            settings["exif"] = _EXIF_PREFIX + settings["exif"].removeprefix(_EXIF_PREFIX)
    else:
        picture.info.pop("comment", None)  # saved with a JPEG or GIF even if it is not an option
    return settings


def _animation(image: "Image", rule: Rule, count: int) -> dict[str, Any]:
    """Return Pillow's options for saving the later frames of ``image``, changed by the rule."""
    frames, durations = [], [_duration(image)]
    for number in range(1, count):
        with decoding():
            image.seek(number)
        frames.append(_changed(image, rule.operations))
        durations.append(_duration(image))
    settings = {"save_all": True, "append_images": frames, "duration": durations, "disposal": 2}
    return settings | ({"loop": image.info["loop"]} if "loop" in image.info else {})


def _duration(image: "Image") -> int:
    """Return the milliseconds that the current frame is shown."""
    return min(int(image.info.get("duration", 0)), _LONGEST_FRAME)


def _on_white(picture: "Image") -> "Image":
    from PIL import Image

    background = Image.new("RGBA", picture.size, "white")
    background.alpha_composite(picture)
    background.info = picture.info
    return background.convert("RGB")
