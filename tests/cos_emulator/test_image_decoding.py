"""Broken files, other files and files that were made to harm."""

import pytest
from PIL import Image

from gateway_dev.cos_emulator.image_decoding import decoded, frame_count, kind_of, opened, orientation_of
from gateway_dev.cos_emulator.image_pixels import apply
from gateway_dev.cos_emulator.image_rules import Rule, parse_rule
from gateway_dev.cos_emulator.refusals import Refusal

from .pictures import encoded, exif, quarters

KINDS = ["AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP"]


def rule(text: str) -> Rule:
    parsed = parse_rule(f"imageMogr2/{text}")
    assert parsed is not None
    return parsed


def test_the_header_tells_size_format_frames_and_orientation() -> None:
    with opened(encoded(quarters(80, 40), "JPEG", exif=exif(6))) as image:
        assert (image.size, kind_of(image), frame_count(image), orientation_of(image)) == ((80, 40), "JPEG", 1, 6)
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "green")]
    with opened(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) as image:
        assert (image.size, kind_of(image), frame_count(image), orientation_of(image)) == ((8, 4), "GIF", 2, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_broken_picture_is_refused(kind: str, part: float) -> None:
    data = encoded(Image.effect_noise((200, 100), 80).convert("RGB"), kind)
    with (
        pytest.raises(Refusal, match="400 InvalidImageFormat"),
        opened(data[: int(len(data) * part)]) as image,
    ):
        decoded(image)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"\x89PNG\r\n\x1a\nno picture",
        encoded(Image.new("RGB", (8, 8)), "TIFF"),
        encoded(Image.new("RGB", (16, 16)), "ICO"),
        encoded(Image.new("RGB", (8, 8)), "PDF"),
    ],
    ids=["empty", "text", "SVG", "PNG without a header", "TIFF", "ICO", "PDF"],
)
def test_a_file_that_cos_does_not_process_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal, match="400 InvalidImageFormat"), opened(data):
        pass


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_dropped_and_the_picture_processed(kind: str) -> None:
    data = encoded(quarters(80, 40), kind, exif=b"Exif\0\0no TIFF, Camera")
    result, _ = apply(data, rule("auto-orient/thumbnail/40x"))
    with opened(result) as image:
        assert (image.size, b"Camera" in result) == ((40, 20), False)
