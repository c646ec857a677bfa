"""Variants through nginx and its cache."""

import itertools
from typing import Any

import pytest

from gateway_dev.cos_emulator.processed_answers import ProcessingOptions
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Answer, Images, RunningGateway, StartGateway, token_for
from tests.delivery.test_accept import BROWSERS
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.stories.test_variants import STYLES, photo, picture

AUTO = "/i/cat?style=card&w=320&format=auto"
REFUSING = {
    "no AVIF": ("image/avif;q=0,image/webp,*/*", "image/webp"),
    "no AVIF, spaces": ("image/avif; q=0.000 , image/webp;q=0.1", "image/webp"),
    "neither": ("image/avif;q=0,image/webp;q=0.0,*/*", "image/jpeg"),
    "AVIF a little": ("image/avif;q=0.001", "image/avif"),
    "none": ("", "image/jpeg"),
}


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway that negotiates."""
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    return await start_gateway(image_styles=STYLES, image_variants={"negotiate": "accept"})


@pytest.fixture
async def nginx(start_nginx: StartNginx, gateway: RunningGateway) -> Nginx:
    """nginx with ``gateway.conf`` and its cache in front of that gateway."""
    return await start_nginx(in_front_of(gateway.address, "gateway.conf"))


def came_from_nginx(answer: Answer) -> bool:
    """Return whether nginx answered from its cache."""
    last: str = answer.headers.getall("Cache-Status")[-1]  # type: ignore[attr-defined]
    return last == "nginx; hit"


async def test_ten_browsers_make_three_fetches(nginx: Nginx, gateway: RunningGateway) -> None:
    types = {name: (await nginx.get(AUTO, Accept=accept)).headers["Content-Type"] for name, accept in BROWSERS.items()}
    assert types["Chromium"] == types["Safari 16"] == "image/avif"
    assert types["Opera 12"] == "image/webp"
    assert types["curl and fetch()"] == types["Safari 13"] == "image/jpeg"
    requests = gateway.sample("requests_total", route="short", delivery="stream", status="200")
    assert requests == 3
    for name, accept in BROWSERS.items():
        answer = await nginx.get(AUTO, Accept=accept)
        assert came_from_nginx(answer), name
        assert answer.headers["Content-Type"] == types[name]
    for accept, content_type in REFUSING.values():  # a weight of 0 means no, though the cache has all three
        assert (await nginx.get(AUTO, Accept=accept)).headers["Content-Type"] == content_type, accept


async def test_explicit_variants_are_kept_whatever_is_accepted(nginx: Nginx, cos: CosEmulator) -> None:
    for number, accept in enumerate(BROWSERS.values()):
        answer = await nginx.get("/i/cat?style=card&w=320&format=webp", Accept=accept)
        assert came_from_nginx(answer) == (number > 0)
    assert len(cos.request_log.requests) == 1


async def test_a_public_style_is_kept_and_the_rest_of_a_private_image_is_not(nginx: Nginx) -> None:
    alice = f"Bearer {token_for('alice')}"
    for seen in (False, True):
        assert (await nginx.get("/i/mine", Authorization=alice)).status == 200
        assert (await nginx.get("/i/mine?style=card&w=160", Authorization=alice)).status == 200
        teaser = await nginx.get("/i/mine?style=teaser")
        assert (teaser.status, came_from_nginx(teaser)) == (200, seen)
        for address in ("/i/mine", "/i/mine?style=card&w=160", "/i/mine?style=card&w=32&format=webp"):
            assert (await nginx.get(address)).status == 404


async def test_what_replaces_a_variant_is_kept_for_a_minute_only(
    nginx: Nginx, images: Images, gateway: RunningGateway
) -> None:
    del gateway
    await images.add("broken", b"no picture", content_type="image/jpeg")
    answer: Any = await nginx.get("/i/broken?style=card&w=320&format=webp")
    assert answer.body == b"no picture"
    assert answer.headers["Cache-Control"].startswith("public, max-age=60")


async def test_in_accel_mode_the_gateway_sends_variants(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """COS's HEAD of a processed image may describe the original: nginx could not detect a wrong answer."""
    cos.processing.options = ProcessingOptions(head="original", etag="original", crc="original")
    gateway = await start_gateway(image_styles=STYLES, image_proxy={"delivery": "accel"})
    nginx = await start_nginx(in_front_of(gateway.address, "accel.conf", cos.port))
    await images.add("cat", photo(), content_type="image/jpeg")
    for _ in range(2):
        answer = await nginx.get("/i/cat?style=card&w=320&format=webp")
        assert (answer.status, picture(answer.body).size) == (200, (320, 200))
        assert answer.headers["Cache-Control"].startswith("public, max-age=3600")
    assert len(cos.request_log.requests) == 1


async def test_an_address_that_hides_its_format_has_an_entry_for_each_format(nginx: Nginx) -> None:
    types = {"image/avif": "image/avif", "image/webp": "image/webp", "*/*": "image/jpeg"}
    for hidden in ("FORMAT=webp&format=auto", "f%6Frmat=auto", "format=a%75to"):
        for (accept, content_type), seen in itertools.product(types.items(), (False, True)):
            answer = await nginx.get(f"/i/cat?style=card&w=320&{hidden}", Accept=accept)
            assert (answer.headers["Content-Type"], came_from_nginx(answer)) == (content_type, seen)


@pytest.mark.parametrize("accept", ["image/avif;q=0,image/avif", "image/webp;q=0, image/webp;q=1,*/*"])
async def test_an_odd_accept_does_not_fill_the_entry_of_others(nginx: Nginx, accept: str) -> None:
    """nginx and the gateway interpret the field in the same way, even if it both accepts and refuses a format."""
    await nginx.get(AUTO, Accept=accept)
    assert (await nginx.get(AUTO, Accept="image/*,*/*;q=0.8")).headers["Content-Type"] == "image/jpeg"


async def test_in_accel_mode_the_original_of_a_negotiated_address_has_its_fields(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(
        image_styles=STYLES, image_variants={"negotiate": "accept"}, image_proxy={"delivery": "accel"}
    )
    nginx = await start_nginx(in_front_of(gateway.address, "accel.conf", cos.port))
    await images.add("cat", b"<svg/>", content_type="image/svg+xml")
    answer: Any = await nginx.get(AUTO, Accept="image/webp")
    assert (answer.status, answer.body) == (200, b"<svg/>")
    assert "Accept" in answer.headers["Vary"].split(", ")
    assert answer.headers["Content-Location"] == "/i/cat"
