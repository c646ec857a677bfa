"""The answer to a request for a style: the rendition, its audience, and the image that is sent instead."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, link_query
from tests.conftest import Images, RunningGateway, StartGateway
from tests.cos_emulator.pictures import encoded
from tests.explain.test_explainer import explained

CARD: dict[str, Any] = {
    "process": "imageMogr2/thumbnail/{width}x>",
    "widths": [16, 32],
    "formats": ["webp"],
    "public": True,
}
STYLES = {"card": CARD, "thumb": "imageMogr2/thumbnail/8x"}
PNG = encoded(Image.new("RGB", (64, 48), "teal"))


@pytest.fixture
async def gateway(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """A gateway with two styles, one of them public."""
    del links_table
    return await start_gateway(image_styles=STYLES, access=ACCESS)


async def test_a_rendition_is_explained_as_a_request_chooses_it(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", PNG)
    data = await explained(gateway, query="?style=card&w=20&format=webp")
    answer = await gateway.get("/i/cat?style=card&w=20&format=webp")
    assert data["delivery"]["rendition"] == "card@32.webp"
    assert data["delivery"]["headers"]["Content-Type"] == answer.headers["Content-Type"] == "image/webp"
    assert data["delivery"]["headers"]["Cache-Control"] == answer.headers["Cache-Control"]
    assert (await explained(gateway, query="?style=card&w=20&format=webp"))["cached_url"]["memory"]["state"] == "fresh"


async def test_the_other_renditions_are_listed_with_what_redis_holds(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", PNG)
    assert (await gateway.get("/i/cat?style=card&w=16&format=webp")).status == 200
    variants = (await explained(gateway))["variants"]
    assert variants["card"] == {
        "may_be_seen_by": "everybody",
        "widths": [16, 32],
        "formats": ["webp", "original"],
        "cached_in_redis": ["card@16.webp"],
    }
    assert variants["thumb"]["may_be_seen_by"] == "callers who may see the image"


async def test_the_style_the_caller_and_the_link_decide_together(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", PNG, owner="alice", public=False)
    denied = "the request has no valid credentials"
    for query, status, why in (
        ("?style=card", 200, "the style is public"),
        ("?style=thumb", 404, denied),
        ("", 404, denied),
    ):
        data = await explained(gateway, query=query)
        assert data["verdict"]["status"] == status == (await gateway.get(f"/i/cat{query}")).status
        assert why in data["caller"]["why"]
    link = f"https://images.example/i/cat?style=thumb&{link_query('/i/cat')}"
    data = await explained(gateway, headers={"X-Explain-Link": link})
    assert (data["verdict"]["served"], data["delivery"]["rendition"]) == (True, "thumb")


async def test_originals_for_owners_are_explained(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"originals": "owner"})
    await images.add("cat", PNG, owner="alice")
    data = await explained(gateway)
    assert data["verdict"]["status"] == 404 == (await gateway.get("/i/cat")).status
    assert "image_variants.originals is owner" in data["verdict"]["reason"]
    assert (await explained(gateway, query="?user=alice"))["verdict"]["served"]
    assert (await explained(gateway, query="?style=card"))["verdict"]["served"]


async def test_what_is_sent_instead_of_a_rendition_is_named(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat", PNG)
    cos.faults.add(Fault(action=Refuse(status=400, code="InvalidImageFormat"), times=1))
    cos.faults.add(Fault(action=Refuse(status=400, code="InvalidImageFormat"), skip=1, times=1))
    data = await explained(gateway, query="?style=card&w=16&format=webp")
    assert data["verdict"]["served"]
    assert "card@16.original is sent instead" in data["verdict"]["reason"]
    assert data["cos"]["first_byte"]["code"] == "InvalidImageFormat"
    assert data["cos"]["instead"]["card@16.original"]["first_byte"]["status"] in (200, 206)
    assert data["delivery"]["headers"]["Cache-Control"] == "public, max-age=60"
    assert data["kept"]["cdn"] == "60 s"


@pytest.mark.parametrize(
    ("refusal", "name"), [("InvalidImageFormat", "photo@16.webp"), ("ImageTooLarge", "the original")]
)
async def test_what_is_sent_instead_is_what_a_request_chooses(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, refusal: str, name: str
) -> None:
    gateway = await start_gateway(image_styles={"photo": {**CARD, "formats": ["avif", "webp"]}})
    await images.add("cat", PNG)
    refused_once = Fault(action=Refuse(status=400, code=refusal), times=1)
    cos.faults.add(refused_once)
    data = await explained(gateway, query="?style=photo&w=16&format=avif")
    assert data["verdict"]["served"]
    assert data["delivery"]["rendition"] == name
    cos.faults.add(refused_once)
    answer = await gateway.get("/i/cat?style=photo&w=16&format=avif")
    headers = data["delivery"]["headers"]
    assert answer.headers["Content-Type"] == headers["Content-Type"]
    assert ("detail=original" in answer.headers["Cache-Status"]) == (name == "the original")


async def test_cos_is_not_asked_for_a_rendition_that_a_request_would_not_ask_for(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat", b"<svg xmlns='http://www.w3.org/2000/svg'/>", content_type="image/svg+xml")
    data = await explained(gateway, query="?style=card&w=16&format=webp")
    assert data["delivery"]["rendition"] == "the original"
    assert data["verdict"]["served"]
    assert not any("imageMogr2" in str(request) for request in cos.request_log.requests)
    answer = await gateway.get("/i/cat?style=card&w=16&format=webp")
    assert answer.headers["Content-Type"] == data["delivery"]["headers"]["Content-Type"] == "image/svg+xml"


async def test_the_picture_that_replaces_an_error_is_explained(
    start_gateway: StartGateway, images: Images, tmp_path: Path
) -> None:
    picture = tmp_path / "fallback.png"
    picture.write_bytes(PNG)
    fallback = {"path": str(picture), "statuses": [404]}
    gateway = await start_gateway(image_proxy={"fallback": fallback})
    missing = await explained(gateway, "dog")
    assert missing["delivery"]["picture"] == "browsers that request an image get image_proxy.fallback with this status"
    answer = await gateway.get("/i/dog", headers={"Sec-Fetch-Dest": "image"})
    assert (answer.status, answer.body) == (404, PNG)
    await images.add("cat", PNG, content_type="text/html")
    assert "picture" not in (await explained(gateway))["delivery"], "502 is not among the statuses"


async def test_a_style_whose_original_is_withheld_is_explained_as_streamed_and_not_redirected(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_proxy={"delivery": "redirect"})
    await images.add("cat", PNG, owner="alice", public=False)
    data = await explained(gateway, query="?style=card&w=16")
    assert (data["delivery"]["mode"], data["delivery"]["status"]) == ("stream", 200)
    assert "cos.unsigned_parameters" in data["delivery"]["why"]
    assert data["verdict"]["reason"].endswith("streamed by the gateway")
    assert (await gateway.get("/i/cat?style=card&w=16")).status == 200


async def test_the_right_version_is_kept_for_a_year_and_another_is_redirected(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("cat", PNG)
    version = (await gateway.get("/api/v1/images/cat/meta")).json()["data"]["version"]
    data = await explained(gateway, query=f"?v={version}")
    assert "immutable" in data["delivery"]["headers"]["Cache-Control"]
    assert data["kept"]["browser"].startswith("31536000 s")
    assert f"v={version}" in (await explained(gateway, query="?v=older"))["delivery"]["version"]
