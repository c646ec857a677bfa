"""Metadata of images: sizes before bytes."""

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from gateway_dev.cos_emulator.faults import Fault, Hang, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.stories.test_variants import STYLES, photo


async def meta_of(gateway: RunningGateway, image_id: str, user: str | None = None) -> dict[str, Any]:
    """The metadata of one image."""
    answer = await gateway.get(f"/api/v1/images/{image_id}/meta", user=user)
    assert answer.status == 200
    data: dict[str, Any] = answer.json()["data"]
    return data


async def batch(gateway: RunningGateway, *image_ids: str) -> dict[str, Any]:
    """The batch of URLs with metadata."""
    body = {"image_ids": image_ids, "include": ["meta"]}
    answer = await gateway.request("POST", "/api/v1/images/urls", json=body)
    assert answer.status == 200
    data: dict[str, Any] = answer.json()["data"]
    return data


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway with styles and an image of 800 by 500 pixels."""
    await images.add("cat", photo(800, 500), content_type="image/jpeg")
    return await start_gateway(image_styles={**STYLES, "thumb": "imageMogr2/thumbnail/10x10"})


async def test_a_page_knows_sizes_colours_and_addresses_before_bytes(gateway: RunningGateway, cos: CosEmulator) -> None:
    data = await meta_of(gateway, "cat")
    assert (data["width"], data["height"], data["content_type"]) == (800, 500, "image/jpeg")
    assert data["color"].startswith("#")
    assert data["placeholder"] is None
    card, thumb = data["styles"]["card"], data["styles"]["thumb"]
    assert (card["widths"], card["formats"]) == ([160, 320, 640], ["avif", "webp", "original"])
    assert (thumb["widths"], thumb["formats"]) == ([], [])
    address = card["url"].replace("{w}", "320").replace("{format}", "webp")
    answer = await gateway.get(address)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (await gateway.get(thumb["url"])).status == 200
    assert data["version"] == (await gateway.get("/api/v1/images/cat/url")).json()["data"]["version"]
    assert [name for seen in cos.request_log.requests for name in seen.query if name.startswith("image")][:2] == [
        "imageInfo",
        "imageAve",
    ]


async def test_cos_is_asked_once_for_each_version(
    gateway: RunningGateway, start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    first = await meta_of(gateway, "cat")
    assert await meta_of(gateway, "cat") == first
    other_replica = await start_gateway(image_styles=STYLES)
    assert (await meta_of(other_replica, "cat"))["width"] == 800
    assert len(cos.request_log.requests) == 2
    await images.add("cat", photo(300, 200), content_type="image/jpeg")
    await gateway.forget_everywhere("cat")
    assert (await meta_of(gateway, "cat"))["width"] == 300


async def test_the_row_s_size_comes_first(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    for column, kind in (("width", "integer"), ("height", "text"), ("placeholder", "text")):
        await images.execute(f"ALTER TABLE images ADD COLUMN IF NOT EXISTS {column} {kind}")
    columns = {"width": "width", "height": "height", "placeholder": "placeholder"}
    gateway = await start_gateway(postgres={"columns": columns})
    await images.add("cat", photo(800, 500), content_type="image/jpeg")
    await images.execute("UPDATE images SET width = 4000, height = '3000', placeholder = 'L6Pj0^' WHERE id = 'cat'")
    data = await meta_of(gateway, "cat")
    assert (data["width"], data["height"], data["placeholder"]) == (4000, 3000, "L6Pj0^")
    assert not any("imageInfo" in seen.query for seen in cos.request_log.requests)
    for make_unusable in (
        "UPDATE images SET width = -1, height = 'tall' WHERE id = 'cat'",
        "UPDATE images SET width = 4000, height = NULL WHERE id = 'cat'",
    ):
        await images.execute(make_unusable)
        await gateway.forget_everywhere("cat")
        data = await meta_of(gateway, "cat")
        assert (data["width"], data["height"]) == (800, 500)


PLACEHOLDERS: dict[str, Any] = {"image_variants": {"placeholders": True}}


async def test_a_tiny_copy_is_the_placeholder_of_an_image_whose_row_has_none(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, redis_client: Any
) -> None:
    """A description that was kept without one is asked for again, once."""
    await images.add("cat", photo(800, 500), content_type="image/jpeg")
    await images.add("broken", b"no picture", content_type="image/jpeg")
    assert (await meta_of(await start_gateway(), "cat"))["placeholder"] is None
    gateway, other = await start_gateway(**PLACEHOLDERS), await start_gateway(**PLACEHOLDERS)
    for replica in (gateway, gateway, other):
        found = await batch(replica, "cat", "broken")
        kind, _, text = found["urls"]["cat"]["meta"]["placeholder"].partition(",")
        assert kind == "data:image/webp;base64"
        tiny = base64.b64decode(text)
        assert len(tiny) < 400
        assert Image.open(io.BytesIO(tiny)).size == (16, 10)
        assert found["urls"]["broken"]["meta"]["placeholder"] is None
    assert len([seen for seen in cos.request_log.requests if "thumbnail" in str(seen.query)]) == 2
    assert (await meta_of(await start_gateway(), "cat"))["placeholder"] is None, "switched off again"
    redis_client.set("image:description:cat", json.dumps([data_version(redis_client), 1, 1, None, "url(x)"]), ex=60)
    third = await start_gateway(**PLACEHOLDERS)
    assert (await meta_of(third, "cat"))["placeholder"] == f"{kind},{text}", "of another program"


def data_version(redis_client: Any) -> str:
    """The version of the image in its description."""
    version: str = json.loads(redis_client.get("image:description:cat"))[0]
    return version


async def test_the_row_s_placeholder_comes_first(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    await images.execute("ALTER TABLE images ADD COLUMN IF NOT EXISTS placeholder text")
    gateway = await start_gateway(postgres={"columns": {"placeholder": "placeholder"}}, **PLACEHOLDERS)
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.execute("UPDATE images SET placeholder = 'L6Pj0^' WHERE id = 'cat'")
    assert (await meta_of(gateway, "cat"))["placeholder"] == "L6Pj0^"
    assert len(cos.request_log.requests) == 2


async def test_the_batch_has_two_hundred_in_one_call(gateway: RunningGateway, images: Images) -> None:
    for number in range(199):
        await images.add(f"p{number}", photo(20, 10), content_type="image/jpeg")
    image_ids = ["cat", *(f"p{number}" for number in range(199))]
    async with asyncio.timeout(LIMIT):  # a call waits 2.5 seconds for COS; what comes later the next one has
        while True:
            data = await batch(gateway, *image_ids)
            assert not data["errors"]
            assert data["urls"].keys() == set(image_ids)
            if all(entry["meta"]["width"] is not None for entry in data["urls"].values()):
                break
    assert data["urls"]["cat"]["meta"]["width"] == 800
    assert data["urls"]["p7"]["meta"] == await meta_of(gateway, "p7")


async def test_who_may_not_see_the_image_gets_no_metadata_and_who_may_not_see_the_original_no_url(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    for user in (None, "bob"):
        assert (await gateway.get("/api/v1/images/mine/meta", user=user)).status == 404
    assert (await gateway.get("/api/v1/images/none/meta")).status == 404
    assert (await meta_of(gateway, "mine", "alice"))["width"] == 800
    data = await batch(gateway, "mine", "cat", "none")
    assert data["errors"] == {"mine": "image_not_found", "none": "image_not_found"}
    assert set(data["urls"]) == {"cat"}
    await gateway.reload(image_variants={"originals": "owner"})
    data = await batch(gateway, "cat")
    assert (data["errors"], data["urls"]["cat"]["url"]) == ({}, None)
    assert data["urls"]["cat"]["meta"]["width"] == 800


async def test_include_is_checked(gateway: RunningGateway) -> None:
    for include in ("meta", ["pixels"], [1], None):
        body = {"image_ids": ["cat"], "include": include}
        answer = await gateway.request("POST", "/api/v1/images/urls", json=body)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_request")


async def test_what_cos_cannot_describe_is_null(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    await images.add("drawing", b"<svg/>", content_type="image/svg+xml")
    await images.add("broken", b"no picture", content_type="image/jpeg")
    for image_id in ("drawing", "broken", "broken"):
        data = await meta_of(gateway, image_id)
        assert (data["width"], data["height"], data["color"]) == (None, None, None)
    assert len(cos.request_log.requests) == 2  # the broken one, once


async def test_a_cos_that_hangs_delays_a_page_for_seconds_at_most(gateway: RunningGateway, cos: CosEmulator) -> None:
    for action in (Hang(), Refuse(status=500, code="InternalError")):  # neither is remembered
        cos.faults.add(Fault(action=action, times=20))
        async with asyncio.timeout(30):
            assert (await meta_of(gateway, "cat"))["width"] is None
        cos.faults.clear()
    assert (await meta_of(gateway, "cat"))["width"] == 800


async def test_the_second_question_about_an_image_ends_with_the_failure_of_the_first(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """Otherwise requests for which nobody waits would hold connections, in any number, until their time limit."""
    gateway = await start_gateway(image_proxy={"timeout": 10 * LIMIT})
    await images.add("cat", photo(), content_type="image/jpeg")
    cos.faults.add(Fault(action=Refuse(status=402, code="PaymentRequired")))
    cos.faults.add(Fault(action=Hang(), skip=1, times=None))
    assert (await meta_of(gateway, "cat"))["width"] is None
    async with asyncio.timeout(LIMIT):
        await cos.request_log.settled()


async def test_garbage_in_redis_is_not_used(gateway: RunningGateway, images: Images, redis_client: Any) -> None:
    for value in ("", "[]", "nonsense", json.dumps(["x", 1, 1, None]), json.dumps([None, 1, 1, None])):
        await images.add(image_id := f"cat-{len(value)}", photo(800, 500), content_type="image/jpeg")
        redis_client.set(f"image:description:{image_id}", value, ex=60)
        assert (await meta_of(gateway, image_id))["width"] == 800, value


@pytest.mark.parametrize(
    "changes", [{"url_cache": {"enabled": False}}, {"redis": {"url": "redis://127.0.0.1:1/0"}}], ids=["off", "down"]
)
async def test_cos_is_asked_once_for_an_image_without_redis(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, changes: dict[str, Any]
) -> None:
    gateway = await start_gateway(image_styles=STYLES, **changes)
    await images.add("cat", photo(800, 500), content_type="image/jpeg")
    await images.add("broken", b"no picture", content_type="image/jpeg")
    for _ in range(3):
        urls = (await batch(gateway, "cat", "broken"))["urls"]
        assert (urls["cat"]["meta"]["width"], urls["broken"]["meta"]["width"]) == (800, None)
    assert len(cos.request_log.requests) == 4
    assert gateway.sample("descriptions_total", result="described") == 2


async def test_images_that_cos_cannot_describe_do_not_stop_the_others(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """COS may process no image while it serves all: neither metadata nor variants open the breaker of originals."""
    gateway = await start_gateway(image_styles=STYLES, image_proxy={"retry_count": 0})
    await images.add("cat", photo(), content_type="image/jpeg")
    failing = [f"p{number}" for number in range(12)]
    for image_id in failing:
        await images.add(image_id, photo(20, 10), content_type="image/jpeg", key=f"failing/{image_id}")
    cos.faults.add(Fault(key="failing/*", action=Refuse(status=500, code="InternalError"), times=None))
    assert (await batch(gateway, *failing))["urls"]["p7"]["meta"]["width"] is None
    assert (await gateway.get("/i/cat")).status == 200
    for image_id in failing:
        assert (await gateway.get(f"/i/{image_id}?style=card&w=160")).status in (502, 503)
    assert (await gateway.get("/i/cat?v=old")).status == 302
    await gateway.forget_everywhere("cat")
    assert (await gateway.get("/i/cat")).status == 200


async def test_what_cos_could_not_say_is_asked_again_soon(
    gateway: RunningGateway, images: Images, redis_client: Any
) -> None:
    """The object may be uploaded after its row was written, or processing switched on for the bucket later."""
    await images.add_row(ImageRow("late", None, "objects/late.jpg", content_type="image/jpeg", public=True))
    assert (await meta_of(gateway, "late"))["width"] is None
    assert (await meta_of(gateway, "cat"))["width"] == 800
    day = 24 * 3600
    assert 0 < redis_client.ttl("image:description:late") <= 60 < day < redis_client.ttl("image:description:cat")
