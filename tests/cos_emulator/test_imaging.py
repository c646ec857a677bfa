"""Image processing by query parameter, signed or appended."""

import io

import pytest
from PIL import Image, features

from gateway.cos_emulator.content import SyntheticContent
from gateway.cos_emulator.imaging import Rule, find_rule
from gateway.cos_emulator.request import CosRequest
from gateway.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client


def picture(width: int, height: int, kind: str) -> bytes:
    output = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(output, kind)
    return output.getvalue()


def size_and_kind(data: bytes) -> tuple[tuple[int, int], str | None]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.format


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
async def test_a_thumbnail_keeps_the_format_and_has_its_own_etag(client: Client, store: ObjectStore, kind: str) -> None:
    key = f"a.{kind.lower()}"
    store.put(BUCKET, key, picture(400, 200, kind), headers={"x-cos-meta-a": "1"}, etag="abc-2")
    original = await client.get(key)
    thumbnail = await client.fetch(client.presign(key, params={"imageMogr2/thumbnail/100x100": ""}))
    assert (thumbnail.status, size_and_kind(thumbnail.body)) == (200, ((100, 50), kind))
    assert thumbnail.headers["ETag"] != original.headers["ETag"]
    assert thumbnail.headers["Content-Length"] == str(len(thumbnail.body))
    assert thumbnail.headers["Content-Type"] == original.headers["Content-Type"]
    assert thumbnail.headers["x-cos-meta-a"] == "1"
    assert "x-cos-hash-crc64ecma" in original.headers
    assert "x-cos-hash-crc64ecma" not in thumbnail.headers


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        ("imageMogr2/thumbnail/100x10", (20, 10)),
        ("imageMogr2/thumbnail/100x", (100, 50)),
        ("imageMogr2/thumbnail/x100", (200, 100)),
        ("imageMogr2/thumbnail/!50p", (200, 100)),
        ("imageMogr2/thumbnail/!1p", (4, 2)),
        ("imageMogr2/thumbnail/!0p", (1, 1)),
        ("imageMogr2/thumbnail/9999x9999", (400, 200)),
        ("imageView2/2/w/40", (40, 20)),
        ("imageView2/2/h/20", (40, 20)),
        ("imageView2/2/w/40/h/10", (20, 10)),
        ("imageMogr2/rotate/90", (400, 200)),
        ("imageMogr2/thumbnail/99999x1", (400, 200)),
    ],
)
async def test_a_rule_sets_the_size(client: Client, store: ObjectStore, rule: str, size: tuple[int, int]) -> None:
    store.put(BUCKET, "a.png", picture(400, 200, "PNG"))
    answer = await client.fetch(client.presign("a.png") + "&" + rule)
    assert size_and_kind(answer.body)[0] == size


async def test_a_file_that_is_not_an_image_is_unchanged(client: Client, store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", b"\x89PNG\r\n\x1a\nno picture")
    answer = await client.fetch(client.presign("a.png", params={"imageView2/2/w/40": ""}))
    assert answer.body == b"\x89PNG\r\n\x1a\nno picture"
    assert "x-cos-hash-crc64ecma" in answer.headers


async def test_an_image_over_32_mib_is_unchanged(client: Client, store: ObjectStore) -> None:
    size = 32 * 1024 * 1024 + 1
    store.put(BUCKET, "a.png", SyntheticContent(size))
    url = client.presign("a.png", method="HEAD", params={"imageView2/2/w/40": ""})
    assert (await client.fetch(url, method="HEAD")).headers["Content-Length"] == str(size)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize(
    ("rule", "size", "made_into"),
    [
        ("imageMogr2/format/webp", (400, 200), "WEBP"),
        ("imageMogr2/thumbnail/100x100/format/png", (100, 50), "PNG"),
        ("imageMogr2/thumbnail/!50p|imageMogr2/quality/80/format/jpg", (200, 100), "JPEG"),
        ("imageView2/2/w/40/format/gif/q/85", (40, 20), "GIF"),
        ("imageMogr2/format/bmp", (400, 200), "BMP"),
    ],
)
async def test_a_rule_sets_the_format_and_content_type(
    client: Client, store: ObjectStore, kind: str, rule: str, size: tuple[int, int], made_into: str
) -> None:
    store.put(BUCKET, "a.png", picture(400, 200, kind), content_type=f"image/{kind.lower()}")
    answer = await client.fetch(client.presign("a.png", params={rule: ""}))
    assert size_and_kind(answer.body) == (size, made_into)
    assert answer.headers["Content-Type"] == f"image/{made_into.lower()}"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("made_into", ["avif", "bmp", "gif", "jpg", "png", "webp"])
async def test_every_picture_mode_converts_to_every_format(
    client: Client, store: ObjectStore, mode: str, made_into: str
) -> None:
    output = io.BytesIO()
    Image.new(mode, (8, 8)).save(output, "TIFF")
    store.put(BUCKET, "a.tiff", output.getvalue())
    answer = await client.fetch(client.presign("a.tiff") + f"&imageMogr2/format/{made_into}")
    if made_into != "avif" or features.check("avif"):
        assert size_and_kind(answer.body)[1] == made_into.upper().replace("JPG", "JPEG")


async def test_transparency_is_kept_where_the_format_has_it(client: Client, store: ObjectStore) -> None:
    output = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(output, "PNG")
    store.put(BUCKET, "a.png", output.getvalue())
    answer = await client.fetch(client.presign("a.png") + "&imageMogr2/format/webp")
    with Image.open(io.BytesIO(answer.body)) as image:
        assert image.convert("RGBA").getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("rule", ["imageMogr2/format/tpg", "imageMogr2/rotate/90", "watermark/2/format/png"])
async def test_unsupported_rules_change_nothing(client: Client, store: ObjectStore, rule: str) -> None:
    store.put(BUCKET, "a.jpg", picture(400, 200, "JPEG"))
    answer = await client.fetch(client.presign("a.jpg", params={rule: ""}))
    assert answer.body == picture(400, 200, "JPEG")
    assert "x-cos-hash-crc64ecma" in answer.headers


def test_the_first_rule_applies() -> None:
    query = (("x", ""), ("imageView2/2/w/40", ""), ("imageMogr2/thumbnail/!50p", ""))
    assert find_rule(CosRequest("GET", "h", "/k", query)) == Rule(width=40)
    assert find_rule(CosRequest("GET", "h", "/k")) is None
