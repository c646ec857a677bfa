"""The file of the fallback picture: which are read, and which stop the start."""

import os
import struct
from pathlib import Path

import pytest

from gateway.delivery.fallback_picture import MAX_BYTES, FallbackPicture, UnusablePicture, stands_in_for
from gateway.errors import CatalogUnavailable, ImageNotFound

SHIPPED = Path(__file__).parents[2] / "config" / "fallback.svg"
FILES = {
    "image/png": b"\x89PNG\r\n\x1a\n" + b"\0" * 8,
    "image/jpeg": b"\xff\xd8\xff\xe0" + b"\0" * 8,
    "image/gif": b"GIF89a" + b"\0" * 8,
    "image/webp": b"RIFF" + struct.pack("<I", 4) + b"WEBPVP8 ",
    "image/avif": struct.pack(">I", 24) + b"ftypavif" + b"\0" * 8,
    "image/svg+xml": b'<?xml version="1.0"?>\n<!-- a comment --><svg xmlns="http://www.w3.org/2000/svg"/>',
}
NO_IMAGES = {
    "empty": b"",
    "text": b"there is no such image",
    "html": b"<!DOCTYPE html><html><svg/></html>",
    "xml": b'<?xml version="1.0"?><Error/>',
    "a-longer-element": b"<svgs/>",
    "truncated-signature": b"\x89PNG",
    "a-video": struct.pack(">I", 24) + b"ftypmp42",
    "a-sound": b"RIFF\0\0\0\0WAVE",
    "html-named-in-a-comment": b"<!-- <svg> --><html/>",
}


@pytest.mark.parametrize("content_type", FILES)
def test_an_image_is_recognized_by_its_first_bytes(tmp_path: Path, content_type: str) -> None:
    file = tmp_path / "picture"
    file.write_bytes(FILES[content_type])
    response = FallbackPicture.read(str(file), [404]).response(ImageNotFound())
    assert (response.status, response.content_type, response.body) == (404, content_type, FILES[content_type])


@pytest.mark.parametrize("content", NO_IMAGES.values(), ids=NO_IMAGES)
def test_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(content)
    with pytest.raises(UnusablePicture, match=r"^image_proxy\.fallback\.path: must be a PNG, JPEG, "):
        FallbackPicture.read(str(file), [404])


def test_a_picture_may_have_the_largest_size_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    for size in (MAX_BYTES, MAX_BYTES + 1):
        file.write_bytes(FILES["image/png"].ljust(size, b"\0"))
        if size == MAX_BYTES:
            FallbackPicture.read(str(file), [404])
            continue
        with pytest.raises(UnusablePicture, match=r"^image_proxy\.fallback\.path: must be at most 65536 bytes$"):
            FallbackPicture.read(str(file), [404])


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    """A pipe without a writer would block the start."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing.png", tmp_path, tmp_path / "pipe", "/dev/zero", "a\0b", tmp_path / ("x" * 300)):
        with pytest.raises(UnusablePicture, match=r"^image_proxy\.fallback\.path: [^\n]+$"):
            FallbackPicture.read(str(path), [404])


def test_the_shipped_picture_can_be_used() -> None:
    assert FallbackPicture.read(str(SHIPPED), [404]).response(ImageNotFound()).content_type == "image/svg+xml"


def test_it_stands_in_for_the_configured_statuses_of_reads_alone() -> None:
    image = {"Sec-Fetch-Dest": "image"}
    for error, method, headers, expected in (
        (ImageNotFound(), "GET", image, True),
        (ImageNotFound(), "HEAD", image, True),
        (ImageNotFound(), "POST", image, False),
        (ImageNotFound(), "GET", {}, False),
        (CatalogUnavailable(), "GET", image, False),
    ):
        assert stands_in_for(error, [404], method, headers) is expected
