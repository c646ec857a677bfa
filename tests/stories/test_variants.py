"""Variants: widths and formats of a style, each a separate image in every cache."""

import asyncio
import io
import os
from typing import Any

import pytest
import yarl
from PIL import Image

from gateway.api.app_keys import INVALIDATION
from gateway.cos_emulator.faults import Fault, Refuse
from gateway.cos_emulator.server import CosEmulator
from tests.conftest import Answer, Images, RunningGateway, StartGateway, token_for
from tests.valve import Valve

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


@pytest.mark.parametrize(
    ("query", "width", "kind"),
    [
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
    ],
)
async def test_a_variant_has_the_width_and_the_format_that_were_asked_for(
    gateway: RunningGateway, query: str, width: int, kind: str
) -> None:
    answer = await gateway.get(f"/i/cat?{query}")
    assert answer.status == 200
    made = picture(answer.body)
    assert (made.width, made.format) == (width, kind)
    assert answer.headers["Content-Type"] == f"image/{kind.lower()}"
    assert "Vary" not in answer.headers
    assert not made.getexif()


async def test_no_variant_is_larger_than_its_original(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_styles=STYLES)
    await images.add("small", photo(100, 80), content_type="image/jpeg")
    assert picture((await gateway.get("/i/small?style=card&w=640&format=webp")).body).size == (100, 80)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("style=huge", "unknown_style"),
        ("style=card@320.webp", "unknown_style"),
        ("style=card&format=jxl", "unknown_format"),
        ("style=teaser&format=avif", "unknown_format"),
        ("style=card&w=0", "invalid_request"),
        ("style=card&w=-1", "invalid_request"),
        ("style=card&w=320px", "invalid_request"),
        ("style=card&w=320&dpr=0", "invalid_request"),
        ("style=card&w=320&dpr=nan", "invalid_request"),
        ("style=card&dpr=2", "invalid_request"),
        ("w=320", "invalid_request"),
        ("format=webp", "invalid_request"),
        ("style=card&v=a/b", "invalid_request"),
    ],
)
async def test_what_no_address_has_is_a_400(gateway: RunningGateway, cos: CosEmulator, query: str, code: str) -> None:
    answer = await gateway.get(f"/i/cat?{query}")
    assert (answer.status, answer.json()["code"]) == (400, code)
    assert not cos.request_log.requests


async def test_a_width_that_is_not_listed_can_be_refused(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(
        image_styles=STYLES, image_variants={"unknown_width": "reject", "negotiate": "explicit"}
    )
    await images.add("cat", photo(), content_type="image/jpeg")
    answer = await gateway.get("/i/cat?style=card&w=200")
    assert (answer.status, answer.json()["code"]) == (400, "unknown_width")
    assert (await gateway.get("/i/cat?style=card&w=160&dpr=2")).status == 200
    answer = await gateway.get("/i/cat?style=card&w=160&format=auto")
    assert (answer.status, answer.json()["code"]) == (400, "unknown_format")


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


async def test_head_of_a_cold_variant_describes_the_variant(gateway: RunningGateway) -> None:
    head = await gateway.request("HEAD", "/i/cat?style=card&w=320&format=webp")
    got = await gateway.get("/i/cat?style=card&w=320&format=webp")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(got.body)))
    assert head.headers["ETag"] == got.headers["ETag"]


async def test_a_changed_row_drops_every_variant(gateway: RunningGateway, images: Images) -> None:
    address = "/i/cat?style=card&w=320&format=webp"
    first = (await gateway.get(address)).body
    await images.add("cat", photo(640, 640), content_type="image/jpeg")
    await gateway.app[INVALIDATION].invalidate_everywhere(["cat"])
    second = (await gateway.get(address)).body
    assert picture(second).size == (320, 320) != picture(first).size


class TestFormatAuto:
    """``format=auto``: content negotiation, only where it is turned on."""

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            (IN_CHROMIUM, "avif"),
            ("image/webp,*/*", "webp"),
            ("image/avif;q=0,image/webp,*/*", "webp"),
            ("image/avif;q=0.5,image/webp;q=0.9", "webp"),
            ("image/avif;q=0.9,image/webp;q=0.9", "avif"),
            ("image/*,*/*;q=0.8", "original"),
            ("*/*", "original"),
            ("text/html", "original"),
            ("image/avif;q=2", "original"),
            ("IMAGE/AVIF", "avif"),
            (None, "original"),
        ],
    )
    async def test_the_format_is_one_that_the_client_names(
        self, gateway: RunningGateway, accept: str | None, kind: str
    ) -> None:
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

    async def test_cache_keys_are_as_many_as_there_are_variants(
        self, gateway: RunningGateway, redis_client: Any, cos: CosEmulator
    ) -> None:
        """A thousand odd combinations of parameters and Accept fields make an entry for each variant at most."""
        for number in range(1000):
            query = f"style=card&w={number * 7 % 900 + 1}&dpr={number % 4 + 0.5}&format=auto&x={number}"
            accept = f"image/{('avif', 'webp', 'png')[number % 3]};q=0.{number % 9 + 1},text/x{number}"
            answer = await gateway.get(f"/i/cat?{query}", headers={"Accept": accept})
            assert answer.status == 200
        variants = 3 * 3
        assert len(redis_client.keys("image:url:cat*")) <= variants
        assert len(cos.request_log.requests) <= variants


class TestFallbacks:
    """What COS does not make is replaced by the next format, then by the original, for a short time."""

    async def test_a_format_that_is_off_falls_back_to_the_next(self, gateway: RunningGateway, cos: CosEmulator) -> None:
        cos.faults.add(Fault(action=REFUSED, times=1))
        answer = await gateway.get("/i/cat?style=card&w=320&format=avif")
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Status"].endswith("detail=other-format")
        assert answer.headers["Cache-Control"].startswith("public, max-age=60")
        assert gateway.sample("variants_total", style="card", format="avif", result="fallback") == 1
        assert gateway.sample("variants_total", style="card", format="webp", result="made") == 1
        asked = len(cos.request_log.requests)
        assert (await gateway.get("/i/cat?style=card&w=320&format=avif")).body == answer.body
        assert len(cos.request_log.requests) == asked  # the refusal is remembered

    async def test_a_source_that_cannot_be_processed_is_sent_as_it_is(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("huge", b"a picture of a billion pixels", content_type="image/jpeg")
        cos.faults.add(Fault(action=Refuse(status=400, code="ImageTooLarge")))
        for address in ("/i/huge?style=card&w=320&format=webp", "/i/huge?style=card&w=160&format=avif"):
            answer = await gateway.get(address)
            assert answer.body == b"a picture of a billion pixels"
            assert answer.headers["Cache-Status"].endswith("detail=original")
            assert answer.headers["Cache-Control"].startswith("public, max-age=60")
        assert len(cos.request_log.requests) == 2  # one refusal, one original

    async def test_cos_is_not_asked_to_process_an_svg(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("drawing", b"<svg/>", content_type="image/svg+xml")
        answer = await gateway.get("/i/drawing?style=card&w=320&format=webp")
        assert (answer.body, answer.headers["Content-Type"]) == (b"<svg/>", "image/svg+xml")
        assert len(cos.request_log.requests) == 1

    async def test_a_refusal_is_forgotten_when_the_row_changes(self, gateway: RunningGateway, cos: CosEmulator) -> None:
        cos.faults.add(Fault(action=Refuse(status=400, code="ImageTooLarge"), times=1))
        address = "/i/cat?style=card&w=320&format=webp"
        assert (await gateway.get(address)).headers["Content-Type"] == "image/jpeg"
        await gateway.app[INVALIDATION].invalidate_everywhere(["cat"])
        assert (await gateway.get(address)).headers["Content-Type"] == "image/webp"

    async def test_a_refusal_of_what_was_there_before_the_row_changed_does_not_count(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        """The row changes while COS reads the old object: its refusal comes later than the change."""
        address = "/i/cat?style=card&w=320&format=webp"
        await images.add("cat", photo(), content_type="image/jpeg")
        cos.faults.add(Fault(action=Refuse(status=400, code="ImageTooLarge")))
        async with Valve.before(cos.port) as valve:
            gateway = await start_gateway(image_styles=STYLES, cos={"domain": f"127.0.0.1:{valve.port}"})
            valve.close()
            first = asyncio.create_task(gateway.get(address))
            await valve.holds.wait()
            await gateway.app[INVALIDATION].invalidate_everywhere(["cat"])
            valve.open()
            assert (await first).status == 200
            assert (await gateway.get(address)).headers["Content-Type"] == "image/webp"

    async def test_sources_that_cos_cannot_read_do_not_switch_a_format_off(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        for number in range(6):
            await images.add(f"b{number}", b"no picture", content_type="image/jpeg")
            assert (await gateway.get(f"/i/b{number}?style=card&w=160&format=avif")).body == b"no picture"
        answer = await gateway.get("/i/cat?style=card&w=160&format=avif")
        assert answer.headers["Content-Type"] == "image/avif"

    async def test_a_format_that_cos_refuses_of_five_objects_is_off_for_the_bucket(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        for number in range(7):
            await images.add(f"p{number}", photo(), content_type="image/jpeg")
        for number in range(7):
            cos.faults.clear()
            cos.faults.add(Fault(action=REFUSED, times=1))
            await gateway.get(f"/i/p{number}?style=card&w=160&format=avif")
        asked = [seen for seen in cos.request_log.requests if any("avif" in name for name in seen.query)]
        assert len(asked) == 5


class TestPublicStyles:
    """``public: true`` on a style opens that style of private images, and nothing else."""

    async def test_everybody_sees_the_style_and_nothing_else(self, gateway: RunningGateway) -> None:
        assert (await gateway.get("/i/mine?style=card&w=160")).status == 404
        for _ in range(2):  # from COS, then from memory
            teaser = await gateway.get("/i/mine?style=teaser")
            assert teaser.status == 200
            assert teaser.headers["Cache-Control"].startswith("public")
            assert "Vary" not in teaser.headers
        for query in ("", "?style=card&w=32", "?style=card&w=32&format=webp"):
            assert (await gateway.get(f"/i/mine{query}")).status == 404
            seen = await gateway.get(f"/i/mine{query}", user="alice")
            assert seen.status == 200
            assert seen.headers["Cache-Control"].startswith("private")

    async def test_it_holds_for_an_entry_of_redis_read_by_another_configuration(
        self, gateway: RunningGateway, start_gateway: StartGateway
    ) -> None:
        assert (await gateway.get("/i/mine?style=teaser")).status == 200
        closed = await start_gateway(image_styles={"teaser": {**STYLES["teaser"], "public": False}})
        assert (await closed.get("/i/mine?style=teaser")).status == 404
        opened = await start_gateway(image_styles={"card": {**CARD, "public": True}})
        assert (await opened.get("/i/mine?style=card&w=160")).status == 200

    async def test_a_deleted_image_has_no_public_style(self, gateway: RunningGateway, images: Images) -> None:
        await images.execute("UPDATE images SET storage_status = 'deleted' WHERE id = 'mine'")
        assert (await gateway.get("/i/mine?style=teaser")).status == 404

    async def test_its_fallback_is_not_the_private_original(self, gateway: RunningGateway, cos: CosEmulator) -> None:
        cos.faults.add(Fault(action=Refuse(status=400, code="ImageTooLarge")))
        answer = await gateway.get("/i/mine?style=teaser")
        assert (answer.status, answer.json()["code"]) == (422, "image_too_large")
        assert (await gateway.get("/i/mine?style=teaser")).status == 422

    @pytest.mark.parametrize("delivery", ["stream", "accel"])
    async def test_in_other_modes(self, start_gateway: StartGateway, images: Images, delivery: str) -> None:
        gateway = await start_gateway(image_styles=STYLES, image_proxy={"delivery": delivery})
        await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
        assert (await gateway.get("/i/mine?style=teaser")).status == 200
        assert (await gateway.get("/i/mine?style=card&w=160")).status == 404
        assert (await gateway.get("/i/mine")).status == 404

    async def test_in_redirect_mode(self, start_gateway: StartGateway, images: Images) -> None:
        gateway = await start_gateway(image_styles=STYLES, image_proxy={"delivery": "redirect"})
        await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
        answer = await gateway.get("/i/mine?style=teaser")
        assert answer.status == 302
        assert answer.headers["Cache-Control"].startswith("public")
        assert (await gateway.get("/i/mine")).status == 404


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


async def test_versions(start_gateway: StartGateway, images: Images) -> None:
    """``v=``: a year with the right one, a redirect to the right one with another."""
    await images.execute("ALTER TABLE images ADD COLUMN IF NOT EXISTS version text")
    gateway = await start_gateway(
        image_styles=STYLES,
        postgres={"columns": {"version": "version"}},
    )
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.execute("UPDATE images SET version = '7' WHERE id = 'cat'")
    right = await gateway.get("/i/cat?style=card&w=160&v=7")
    assert right.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    old = await gateway.get("/i/cat?style=card&v=6&w=160")
    assert (old.status, old.headers["Location"]) == (302, "?style=card&v=7&w=160")
    assert old.headers["Cache-Control"].startswith("public, max-age=60")
    assert (await gateway.get("/i/cat?v=7")).headers["Cache-Control"].endswith("immutable")
    await images.execute("UPDATE images SET version = 'a b' WHERE id = 'cat'")
    await gateway.app[INVALIDATION].invalidate_everywhere(["cat"])
    hashed = (await gateway.get("/i/cat?v=7")).headers["Location"].removeprefix("?v=")
    assert (await gateway.get(f"/i/cat?v={hashed}")).headers["Cache-Control"].endswith("immutable")


@pytest.mark.parametrize("query", ["style=card&%76=6&w=160", "v=6&v=5", "style=card&v=%36", "%76=6&v=7", "v=6&x=v=6"])
async def test_any_spelling_of_another_version_leads_to_the_right_one(gateway: RunningGateway, query: str) -> None:
    def exactly(query: str) -> yarl.URL:
        return yarl.URL(f"{gateway.ports.public}/i/cat?{query}", encoded=True)

    async with gateway.session.get(exactly(query), allow_redirects=False) as redirect:
        assert redirect.status == 302
        location = redirect.headers["Location"].removeprefix("?")
    async with gateway.session.get(exactly(location), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Cache-Control"][-9:]) == (200, "immutable")


@pytest.mark.parametrize("query", ["v=7", "style=card&w=160&v=7"])
async def test_bytes_of_the_next_version_are_not_kept_for_a_year_at_the_address_of_the_last(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, query: str
) -> None:
    """The row changes after its version was compared: COS refuses the URL, and the new row names another object."""
    await images.execute("ALTER TABLE images ADD COLUMN IF NOT EXISTS version text")
    gateway = await start_gateway(
        image_styles=STYLES,
        postgres={"columns": {"version": "version"}, "listen": False},
        image_proxy={"memory_cache": {"max_bytes": 0}},
    )
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.execute("UPDATE images SET version = '7' WHERE id = 'cat'")
    assert (await gateway.get(f"/i/cat?{query}")).headers["Cache-Control"].endswith("immutable")
    await images.add("cat", photo(300, 300), content_type="image/jpeg", key="objects/other.png")
    await images.execute("UPDATE images SET version = '8' WHERE id = 'cat'")
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied")))
    answer = await gateway.get(f"/i/cat?{query}")
    made = picture(answer.body)
    assert (answer.status, made.width) == (200, made.height)
    assert answer.headers["Cache-Control"].startswith("public, max-age=60,")


async def test_two_rows_of_an_object_have_each_its_focus(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    await images.execute("ALTER TABLE images ADD COLUMN IF NOT EXISTS focus text")
    crop = {"process": "imageMogr2/crop/{width}x{width}/gravity/{focus}", "widths": [100]}
    gateway = await start_gateway(image_styles={"square": crop}, postgres={"columns": {"focus": "focus"}})
    for image_id, focus in (("top", "north"), ("bottom", "south")):
        await images.add(image_id, photo(100, 400), content_type="image/jpeg", key="objects/tall.jpg")
        await images.execute("UPDATE images SET focus = %s WHERE id = %s", focus, image_id)
    top, bottom = [(await gateway.get(f"/i/{image_id}?style=square")).body for image_id in ("top", "bottom")]
    assert top != bottom
    assert len(cos.request_log.requests) == 2


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
    await gateway.app[INVALIDATION].invalidate_everywhere(["cat"])
    assert "ETag" in (await gateway.get(address)).headers
    asked = len(cos.request_log.requests)
    assert (await gateway.get(address)).headers["Cache-Status"].startswith("image-gateway; hit")
    assert len(cos.request_log.requests) == asked


async def test_new_variants_are_bounded(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"max_new_per_minute": 2})
    await images.add("cat", photo(), content_type="image/jpeg")
    answers = [
        await gateway.get(f"/i/cat?style=card&w={width}&format={kind}")
        for width in (160, 320)
        for kind in ("webp", "avif")
    ]
    assert [picture(answer.body).width for answer in answers] == [160, 160, 800, 800]
    assert answers[2].headers["Cache-Status"].endswith("detail=original")
    assert gateway.sample("variants_total", style="card", format="webp", result="limited") == 1
    assert (await gateway.get("/i/cat?style=card&w=160&format=webp")).headers["Content-Type"] == "image/webp"
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    limited = await gateway.get("/i/mine?style=teaser")
    assert (limited.status, limited.json()["code"]) == (503, "too_many_variants")
    assert "Retry-After" in limited.headers


async def test_the_bound_on_new_variants_does_not_tell_which_images_exist(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"max_new_per_minute": 1})
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    assert (await gateway.get("/i/cat?style=card&w=160")).status == 200
    for user in (None, "bob"):
        hidden, unknown = [await gateway.get(f"/i/{one}?style=card&w=160", user=user) for one in ("mine", "none")]
        assert (hidden.status, hidden.json()["code"]) == (unknown.status, unknown.json()["code"])
        assert hidden.status == 404
    assert (await gateway.get("/i/mine?style=card&w=160", user="alice")).status == 200


async def test_who_may_not_see_an_image_uses_up_no_new_variants(
    start_gateway: StartGateway, images: Images, redis_client: Any
) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"max_new_per_minute": 2})
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    for width in (160, 320, 640):
        for user in (None, "bob"):
            assert (await gateway.get(f"/i/mine?style=card&w={width}&format=webp", user=user)).status == 404
    assert not redis_client.keys("image:url:mine:*")
    for image_id in ("mine", "cat"):
        answer = await gateway.get(f"/i/{image_id}?style=card&w=160&format=webp", user="alice")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")


async def test_one_signed_link_opens_every_variant(
    start_gateway: StartGateway, links_table: Any, images: Images
) -> None:
    """The signature covers the path, so that a page makes one link for an image."""
    del links_table  # made
    gateway = await start_gateway(
        image_styles=STYLES, access={"signed_links": {"keys": {"k": "a-key-of-at-least-thirty-two-bytes"}}}
    )
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    made = await gateway.request(
        "POST",
        "/api/v1/images/mine/link",
        json={"expires_in": 60},
        headers={"Authorization": f"Bearer {token_for('alice')}"},
    )
    link = made.json()["data"]["url"]
    version = (await gateway.get("/api/v1/images/mine/meta", user="alice")).json()["data"]["version"]
    for query in ("", "&style=card&w=160&format=webp", "&style=card&w=320&format=avif", f"&style=card&v={version}"):
        answer = await gateway.get(link + query)
        assert answer.status == 200
        assert answer.headers["Cache-Control"].startswith("private")
    redirect = await gateway.get(f"{link}&style=card&w=160&v=old")
    assert redirect.status == 302
    path, _, _ = link.partition("?")
    assert (await gateway.get(path + redirect.headers["Location"])).status == 200
    assert (await gateway.get("/i/mine?style=card&w=160")).status == 404


async def test_a_redirect_leads_to_the_original_where_cos_makes_no_variant(
    start_gateway: StartGateway, images: Images
) -> None:
    """The gateway does not see COS's answer then, so the rule itself contains the fallback (ignore-error)."""
    gateway = await start_gateway(image_styles=STYLES, image_proxy={"delivery": "redirect"})
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("broken", b"no picture", content_type="image/jpeg")
    for image_id, kind in (("cat", b"WEBP"), ("broken", b"no picture")):
        redirect = await gateway.get(f"/i/{image_id}?style=card&w=320&format=webp")
        assert redirect.status == 302
        url = yarl.URL(redirect.headers["Location"], encoded=True)
        async with gateway.session.get(url) as answer:
            assert answer.status == 200
            assert kind in await answer.read()
