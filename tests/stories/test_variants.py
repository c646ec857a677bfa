"""Variants: widths and formats of a style, each a separate image in every cache."""

import io
import os
from typing import Any

import pytest
from PIL import Image

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Answer, Images, RunningGateway, StartGateway

CARD: dict[str, Any] = {"widths": [160, 320, 640], "formats": ["avif", "webp"], "quality": {"webp": 75}}
STYLES: dict[str, Any] = {"card": CARD, "teaser": {"widths": [32], "formats": ["webp"], "public": True}}
REFUSED = Refuse(status=400, code="InvalidArgument", message="The format is not supported.")
IN_CHROMIUM = "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


def photo(width: int = 800, height: int = 500, *, kind: str = "JPEG") -> bytes:
    """A picture with a gradient, so that its size in bytes depends on its size in pixels."""
    file = io.BytesIO()
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    picture.save(file, kind, exif=exif)
    return file.getvalue()


def noise(side: int) -> bytes:
    """A square PNG of three bytes a pixel, which nothing compresses."""
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(file, "PNG")
    return file.getvalue()


def fields(answer: Answer, name: str) -> list[str]:
    """The members of a list field, from all of its lines."""
    lines: list[str] = answer.headers.getall(name, [])  # type: ignore[attr-defined]
    return ", ".join(lines).split(", ")


def picture(body: bytes) -> Image.Image:
    """The decoded body."""
    return Image.open(io.BytesIO(body))


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway with the styles, a public image ``cat`` and a private one of alice, ``mine``."""
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    return await start_gateway(image_styles=STYLES, image_variants={"negotiate": "accept"})


async def test_a_variant_has_the_width_and_the_format_that_were_asked_for(gateway: RunningGateway) -> None:
    for query, width, kind in (
        ("style=card&w=320&format=webp", 320, "WEBP"),
        ("style=card&w=320&format=avif", 320, "AVIF"),
        ("style=card&w=320&format=original", 320, "JPEG"),
        ("style=card&w=320", 320, "JPEG"),
        ("style=card&w=200&format=webp", 320, "WEBP"),
        ("style=card&w=160&dpr=2&format=webp", 320, "WEBP"),
        ("style=card&w=213&dpr=1.5&format=webp", 320, "WEBP"),
        ("style=card&w=9999&format=webp", 640, "WEBP"),
        ("style=card&format=webp", 640, "WEBP"),
        ("style=teaser&w=10", 32, "WEBP"),
    ):
        answer = await gateway.get(f"/i/cat?{query}")
        assert answer.status == 200
        made = picture(answer.body)
        assert (made.width, made.format) == (width, kind), query
        assert answer.headers["Content-Type"] == f"image/{kind.lower()}"
        assert "Vary" not in answer.headers
        assert not made.getexif()


async def test_no_variant_is_larger_than_its_original(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_styles=STYLES)
    await images.add("small", photo(100, 80), content_type="image/jpeg")
    assert picture((await gateway.get("/i/small?style=card&w=640&format=webp")).body).size == (100, 80)


async def test_a_listed_ratio_cuts_the_image_at_its_focus_and_without_one_it_is_whole(
    start_gateway: StartGateway, images: Images
) -> None:
    """The upper half of the image is black, the lower one white."""
    file = io.BytesIO()
    halves = Image.new("L", (400, 400), 255)
    halves.paste(0, (0, 0, 400, 200))
    halves.save(file, "PNG")
    images.cos.store.put(BUCKET, "halves.png", file.getvalue(), content_type="image/png")
    await images.execute("ALTER TABLE images ADD COLUMN IF NOT EXISTS focus text")
    for image_id, focus in (("above", "north"), ("below", "south")):
        await images.add_row(ImageRow(image_id, None, "halves.png", content_type="image/png", public=True))
        await images.execute("UPDATE images SET focus = %s WHERE id = %s", focus, image_id)
    process = "imageMogr2/auto-orient/crop/{width}x{height}/gravity/{focus}/strip"
    cover = {"process": process, "ratios": ["2:1", "1:1"], "widths": [100, 200], "formats": ["webp"]}
    gateway = await start_gateway(image_styles={"cover": cover}, postgres={"columns": {"focus": "focus"}})
    for query, size in (("w=200&r=2:1", (200, 100)), ("w=100&r=1:1", (100, 100)), ("w=100", (100, 100))):
        for format_, kind in (("webp", "WEBP"), ("original", "PNG")):
            answer = await gateway.get(f"/i/above?style=cover&{query}&format={format_}")
            assert (picture(answer.body).size, picture(answer.body).format) == (size, kind), query
    shades = {}
    for image_id in ("above", "below"):
        body = (await gateway.get(f"/i/{image_id}?style=cover&w=200&r=2:1&format=original")).body
        shades[image_id] = picture(body).convert("L").getpixel((100, 50))
    assert shades == {"above": 0, "below": 255}
    refused = await gateway.get("/i/above?style=cover&w=200&r=4:3")
    assert (refused.status, refused.json()["code"]) == (400, "unknown_ratio")
    meta = (await gateway.get("/api/v1/images/above/meta")).json()["data"]
    assert meta["styles"]["cover"]["ratios"] == ["2:1", "1:1"]


async def test_what_no_address_has_is_a_400(gateway: RunningGateway, cos: CosEmulator) -> None:
    for query, code in (
        ("style=huge", "unknown_style"),
        ("style=card&format=jxl", "unknown_format"),
        ("style=card&r=16:9", "unknown_ratio"),
        ("style=card&w=0", "invalid_request"),
        ("style=card&v=a/b", "invalid_request"),
    ):
        answer = await gateway.get(f"/i/cat?{query}")
        assert (answer.status, answer.json()["code"]) == (400, code), query
    assert not cos.request_log.requests


async def test_the_second_request_is_a_hit_and_the_tag_is_of_the_bytes(
    gateway: RunningGateway, cos: CosEmulator
) -> None:
    first = await gateway.get("/i/cat?style=card&w=320&format=webp")
    again = await gateway.get("/i/cat?style=card&w=320&format=webp")
    other = await gateway.get("/i/cat?style=card&w=160&format=webp")
    assert first.headers["Cache-Status"] == "image-gateway; fwd=miss; fwd-status=200; stored"
    assert again.headers["Cache-Status"].startswith("image-gateway; hit")
    assert again.body == first.body
    assert again.headers["ETag"] == first.headers["ETag"] != other.headers["ETag"]
    assert len(cos.request_log.requests) == 2
    headers = {"If-None-Match": first.headers["ETag"]}
    assert (await gateway.get("/i/cat?style=card&w=320&format=webp", headers=headers)).status == 304
    assert (await gateway.get("/i/cat?style=card&w=160&format=webp", headers=headers)).status == 200
    part = await gateway.get("/i/cat?style=card&w=320&format=webp", headers={"Range": "bytes=4-9"})
    assert (part.status, part.body) == (206, first.body[4:10])
    head = await gateway.request("HEAD", "/i/cat?style=card&w=320&format=webp")
    assert head.headers["Content-Length"] == str(len(first.body))


async def test_a_changed_row_drops_every_variant(gateway: RunningGateway, images: Images) -> None:
    address = "/i/cat?style=card&w=320&format=webp"
    first = (await gateway.get(address)).body
    await images.add("cat", photo(640, 640), content_type="image/jpeg")
    await gateway.forget_everywhere("cat")
    second = (await gateway.get(address)).body
    assert picture(second).size == (320, 320) != picture(first).size


class TestFormatAuto:
    """``format=auto``: content negotiation, only where it is turned on."""

    async def test_the_format_is_one_that_the_client_names(self, gateway: RunningGateway) -> None:
        """``tests/delivery/test_accept.py`` has a table of the field."""
        for accept, kind in (
            (IN_CHROMIUM, "avif"),
            ("image/webp,*/*", "webp"),
            ("*/*", "original"),
            (None, "original"),
        ):
            headers = {"Accept": accept} if accept is not None else {}
            answer = await gateway.request(
                "GET", "/i/cat?style=card&w=320&format=auto", headers=headers, skip_auto_headers=["Accept"]
            )
            assert answer.headers["Content-Type"] == f"image/{kind.replace('original', 'jpeg')}"
            assert answer.headers["Vary"] == "Accept"
            assert answer.headers["Content-Location"] == f"/i/cat?style=card&w=320&format={kind}"

    async def test_vary_is_on_every_answer_of_the_address(self, gateway: RunningGateway, cos: CosEmulator) -> None:
        address = "/i/{}?style=card&w=320&format=auto"
        etag = (await gateway.get(address.format("cat"))).headers["ETag"]
        not_modified = await gateway.get(address.format("cat"), headers={"If-None-Match": etag})
        missing = await gateway.get(address.format("none"))
        assert (not_modified.status, missing.status) == (304, 404)
        private = await gateway.get(address.format("mine"), user="alice")
        cos.faults.add(Fault(key="objects/*", action=REFUSED))
        fallback = await gateway.get("/i/cat?style=teaser&format=auto")
        for answer in (not_modified, missing, private, fallback):
            assert "Accept" in fields(answer, "Vary")
        assert fields(private, "Vary") == ["Authorization", "Accept"]


async def test_originals_can_be_kept_for_owners(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"originals": "owner"})
    await images.add("cat", photo(), content_type="image/jpeg", owner="alice")
    assert (await gateway.get("/i/cat?style=card&w=320")).status == 200
    for path in ("/i/cat", "/i/cat?redirect=true", "/api/v1/images/cat/proxy", "/api/v1/images/cat/url"):
        assert (await gateway.get(path)).status == 404
        assert (await gateway.get(path, user="bob")).status == 404
        assert (await gateway.get(path, user="alice")).status in (200, 302)
    assert (await gateway.get("/i/cat")).status == 404  # from memory, too
    batch = await gateway.request("POST", "/api/v1/images/urls", json={"image_ids": ["cat"]})
    assert batch.json()["data"] == {"urls": {}, "errors": {"cat": "image_not_found"}}
    await images.add("broken", b"no picture", content_type="image/jpeg", owner="alice")
    cos.faults.add(Fault(key="objects/broken.png", action=Refuse(status=400, code="ImageTooLarge")))
    assert (await gateway.get("/i/broken?style=card&w=320")).status == 422


async def test_an_image_that_is_smaller_now_is_kept_in_memory_again(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """A variant too large for memory is streamed, until its image changes."""
    style = {"process": "imageMogr2/thumbnail/{width}x>", "widths": [1000]}
    gateway = await start_gateway(image_styles={"full": style})
    address = "/i/cat?style=full&format=original"
    await images.add("cat", noise(1000), content_type="image/png")
    large = await gateway.get(address)
    assert (len(large.body) > 2 * 1024 * 1024, "ETag" in large.headers) == (True, False)
    await images.add("cat", noise(100), content_type="image/png")
    await gateway.forget_everywhere("cat")
    assert "ETag" in (await gateway.get(address)).headers
    asked = len(cos.request_log.requests)
    assert (await gateway.get(address)).headers["Cache-Status"].startswith("image-gateway; hit")
    assert len(cos.request_log.requests) == asked
