"""``delivery: accel``: the gateway handles the ranges and conditions that nginx evaluates otherwise than RFC 9110."""

from email.utils import formatdate

import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images
from tests.nginx.conftest import Nginx
from tests.nginx.test_accel import LARGE, SMALL
from tests.stories.content import add_large

PUBLIC = "public, max-age=3600, stale-while-revalidate=300, stale-if-error=86400"


IGNORED = (
    "bytes=5-2",
    "bytes=abc",
    "bytes=-",
    "bytes=0-1,4-5",
    "lines=0-1",
    "bytes=1 0-1 9",
    "b y t e s=0-5",
    "bytes=- 5",
    "bytes= 10 - 19",
)


@pytest.mark.parametrize("content", [SyntheticContent(20_000), LARGE], ids=["small", "large"])
async def test_an_ignored_range_gets_the_whole_object(nginx: Nginx, images: Images, content: SyntheticContent) -> None:
    """RFC 9110 sections 14.1.1 and 14.2: neither 416 nor multipart, whether nginx has the object cached or not."""
    for number, ignored in enumerate(IGNORED):
        await add_large(images, content, f"a{number}")
        for _ in range(2):
            answer = await nginx.get(f"/i/a{number}", Range=ignored)
            assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png"), ignored
            assert answer.headers["Cache-Control"] == PUBLIC
            assert answer.body == content.read(0, content.size)
            await nginx.get(f"/i/a{number}")  # fills the cache of nginx


async def test_cos_receives_the_range_that_the_gateway_parsed(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await add_large(images)
    for requested, sent in (("BYTES=10-19", "bytes=10-19"), ("bytes=-5", "bytes=4999995-4999999")):
        answer = await nginx.get("/i/a", Range=requested)
        assert (answer.status, answer.headers["Content-Range"]) == (206, f"{sent.replace('=', ' ')}/{LARGE.size}")
        assert answer.headers["Cache-Control"] == PUBLIC
        assert cos.request_log.of("objects/a.png", "GET")[-1].range == sent


async def test_if_match_outranks_if_unmodified_since(nginx: Nginx, images: Images) -> None:
    """RFC 9110 section 13.2.2."""
    await images.add("a", SMALL)
    etag = (await nginx.get("/i/a")).headers["ETag"]  # fills the cache of nginx, with the date
    for since in (formatdate(0, usegmt=True), "nonsense"):
        answer = await nginx.get("/i/a", If_Match=etag, If_Unmodified_Since=since)
        assert (answer.status, answer.body) == (200, SMALL)


async def test_an_unreadable_if_unmodified_since_is_ignored_and_an_early_one_fails(
    nginx: Nginx, images: Images
) -> None:
    """RFC 9110 section 13.1.4."""
    await images.add("a", SMALL)
    await nginx.get("/i/a")
    assert (await nginx.get("/i/a", If_Unmodified_Since="nonsense")).body == SMALL
    assert (await nginx.get("/i/a", If_Unmodified_Since=formatdate(0, usegmt=True))).status == 412
