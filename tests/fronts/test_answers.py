"""What a browser gets through each front is what the gateway sends."""

import pytest

from tests.conftest import Images, StartGateway
from tests.cos_emulator.pictures import gradient
from tests.fronts.conftest import running_front
from tests.fronts.front import Front

BODY = bytes(range(256)) * 400


async def test_bytes_head_ranges_and_conditions(front: Front, images: Images) -> None:
    await images.add("a", BODY)
    for _ in range(3):
        answer = await front.get("/i/a")
        assert (answer.status, answer.body) == (200, BODY)
        assert answer.headers["Content-Type"] == "image/png"
        assert "Content-Encoding" not in answer.headers
        part = await front.get("/i/a", Range="bytes=1000-1999")
        assert (part.status, part.body) == (206, BODY[1000:2000])
        head = await front.request("HEAD", "/i/a")
        assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(BODY)), b"")
        etag = answer.headers["ETag"]
        assert head.headers["ETag"] == etag
        assert (await front.get("/i/a", If_None_Match=etag)).status == 304
        changed = await front.get("/i/a", If_None_Match='"x"', Accept_Encoding="gzip, br")
        assert (changed.status, changed.body) == (200, BODY)


async def test_a_range_that_is_asked_for_first_is_no_whole_image(front: Front, images: Images) -> None:
    await images.add("a", BODY)
    part = await front.get("/i/a", Range="bytes=10-19")
    assert (part.status, part.body) == (206, BODY[10:20])
    assert (await front.get("/i/a")).body == BODY


@pytest.mark.parametrize("accepts", [("image/webp", "image/png"), ("image/png", "image/webp")], ids=["webp", "png"])
async def test_each_browser_gets_a_format_that_it_can_show(
    front_name: str, start_gateway: StartGateway, images: Images, accepts: tuple[str, ...]
) -> None:
    gateway = await start_gateway(
        image_styles={"card": {"widths": [20], "formats": ["webp"]}}, image_variants={"negotiate": "accept"}
    )
    await images.add("a", gradient(40, 30), content_type="image/png")
    async with running_front(front_name, gateway) as front:
        for accept in accepts * 2:
            answer = await front.get("/i/a?style=card&format=auto", Accept=accept)
            assert (answer.status, answer.headers["Content-Type"]) == (200, accept)
        for kind in ("webp", "original", "webp"):
            answer = await front.get(f"/i/a?style=card&w=20&format={kind}")
            assert answer.headers["Content-Type"] == ("image/webp" if kind == "webp" else "image/png")


async def test_an_address_with_a_long_query_arrives_byte_for_byte(front: Front, images: Images) -> None:
    """A link is signed for its path, and names of downloads are encoded."""
    await images.add("user:bob@v1.2", BODY)
    answer = await front.get("/i/user:bob@v1.2?download=%E5%9B%BE%20a%2Bb.png")
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.headers["Content-Disposition"].endswith("UTF-8''%E5%9B%BE%20a%2Bb.png")
    assert (await front.get(f"/i/user:bob@v1.2?download={'x' * 200}")).status == 200
