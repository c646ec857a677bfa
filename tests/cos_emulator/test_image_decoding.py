"""Broken files, other files and files that were made to harm."""

import pytest
from PIL import Image

from gateway_dev.cos_emulator.image_decoding import decoded, opened
from gateway_dev.cos_emulator.refusals import Refusal

from .pictures import encoded

KINDS = ["AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP"]


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
