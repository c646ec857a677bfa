"""Limits of image processing, over HTTP: the errors, and files that no decoder may be given."""

import io
import struct

import pytest
from PIL import Image

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.image_decoding import LARGEST_FILE, MOST_FRAMES
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Answer, Client
from .pictures import encoded, gradient, header_of_png

TEXT = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"


async def fetch(client: Client, rule: str) -> Answer:
    return await client.fetch(client.presign("a", params={rule: ""}))


def animation(frames: int) -> bytes:
    images = [Image.new("L", (1, 1), number % 2 * 255) for number in range(frames)]
    return encoded(images[0], "GIF", save_all=True, append_images=images[1:], duration=10)


def header_of_gif(width: int, height: int) -> bytes:
    with io.BytesIO(encoded(Image.new("L", (1, 1)), "GIF")) as file:
        data = file.read()
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def cut_short(kind: str) -> bytes:
    data = encoded(Image.effect_noise((200, 100), 80).convert("RGB"), kind)
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("original", "code"),
    [
        (header_of_png(50_001, 1), "ImageResolutionExceed"),
        (header_of_png(1, 50_001), "ImageResolutionExceed"),
        (header_of_png(16_000, 16_000), "ImageResolutionExceed"),
        (header_of_png(30_000, 30_000), "ImageResolutionExceed"),
        (header_of_png(2**31 - 1, 2**31 - 1), "ImageResolutionExceed"),
        (header_of_gif(65_535, 65_535), "ImageResolutionExceed"),
        (animation(MOST_FRAMES + 1), "ImageResolutionExceed"),
        (SyntheticContent(LARGEST_FILE + 1), "ImageTooLarge"),
        (header_of_png(500, 500), "InvalidImageFormat"),
        (TEXT, "InvalidImageFormat"),
        (b"", "InvalidImageFormat"),
        *((cut_short(kind), "InvalidImageFormat") for kind in ("AVIF", "BMP", "GIF", "JPEG", "WEBP")),
        *((encoded(Image.new("RGB", (16, 16)), kind), "InvalidImageFormat") for kind in ("TIFF", "ICO", "PDF")),
    ],
    ids=[
        "wide",
        "high",
        "256 Mpx",
        "900 Mpx",
        "bomb",
        "GIF",
        "301 frames",
        "32 MiB and a byte",
        "no pixels",
        "SVG",
        "empty",
        *("cut AVIF", "cut BMP", "cut GIF", "cut JPEG", "cut WEBP"),
        *("TIFF", "ICO", "PDF"),
    ],
)
@pytest.mark.parametrize("rule", ["imageMogr2/thumbnail/40x", "imageMogr2/format/webp", "imageInfo", "imageAve"])
async def test_an_original_beyond_the_limits_is_refused(
    client: Client, store: ObjectStore, original: bytes | SyntheticContent, code: str, rule: str
) -> None:
    """The files have no pixels: a decoder that was given one would fail with InvalidImageFormat."""
    store.put(BUCKET, "a", original)
    answer = await fetch(client, rule)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/xml")
    assert f"<Code>{code}</Code>".encode() in answer.body
    head = await client.fetch(client.presign("a", method="HEAD", params={rule: ""}), method="HEAD")
    assert (head.status, head.body) == (400, b"")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("thumbnail/10000x", "InvalidArgument"),
        ("thumbnail/999999999x", "InvalidArgument"),
        ("thumbnail/!999999p", "InvalidArgument"),
        ("thumbnail/10000x1!", "InvalidArgument"),
        ("crop/401x10", "InvalidArgument"),
        ("cut/10x10x400x0", "InvalidArgument"),
        ("thumbnail/9000x1!|imageMogr2/thumbnail/!200px", "InvalidArgument"),
    ],
)
async def test_a_result_beyond_the_limits_is_refused(client: Client, store: ObjectStore, rule: str, code: str) -> None:
    store.put(BUCKET, "a", gradient(400, 200))
    answer = await fetch(client, f"imageMogr2/{rule}")
    assert (answer.status, f"<Code>{code}</Code>".encode() in answer.body) == (400, True)


@pytest.mark.parametrize(
    ("original", "rule"),
    [
        (header_of_png(50_001, 1), "imageMogr2/thumbnail/40x/ignore-error/1"),
        (SyntheticContent(LARGEST_FILE + 1), "imageMogr2/ignore-error/1/format/webp"),
        (TEXT, "imageMogr2/strip|imageMogr2/thumbnail/40x/ignore-error/1"),
        (gradient(400, 200), "imageMogr2/thumbnail/10000x/ignore-error/1"),
        (gradient(400, 200), "imageView2/1/w/401/ignore-error/1"),
    ],
    ids=["pixels", "bytes", "SVG", "result", "crop"],
)
async def test_ignore_error_answers_the_original(
    client: Client, store: ObjectStore, original: bytes | SyntheticContent, rule: str
) -> None:
    stored = store.put(BUCKET, "a", original, content_type="image/png")
    answer = await fetch(client, rule)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert (len(answer.body), answer.headers["ETag"]) == (stored.content.size, await stored.quoted_etag())
    assert "x-cos-hash-crc64ecma" in answer.headers
