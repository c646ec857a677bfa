"""Conditional requests (RFC 9110 section 13, with the precedence of 13.2.2)."""

import itertools
from email.utils import formatdate

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.content import ALWAYS_REVALIDATE, LARGE, NO_MEMORY, SMALL, add_large, requests_to


@pytest.fixture(params=["asks COS", "knows"])
async def conditional_gateway(request: pytest.FixtureRequest, start_gateway: StartGateway) -> RunningGateway:
    """One that asks COS about everything, and one that remembers."""
    if request.param == "knows":
        return await start_gateway()
    return await start_gateway(image_proxy={"memory_cache": {**NO_MEMORY, **ALWAYS_REVALIDATE}})


async def test_conditions_decide_the_status(conditional_gateway: RunningGateway, images: Images) -> None:
    """``tests/delivery/test_conditions_and_ranges.py`` has a table of the fields."""
    gateway = conditional_gateway
    await images.add("a", SMALL)
    first = await gateway.get("/i/a")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    old = formatdate(0, usegmt=True)
    table: list[tuple[dict[str, str], int]] = [
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": etag, "If-Modified-Since": old}, 304),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": old}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": etag, "If-None-Match": etag}, 304),
        ({"If-Match": '"x"', "If-None-Match": etag}, 412),
        ({"If-Unmodified-Since": old}, 412),
        ({"If-None-Match": etag, "Range": "bytes=0-1"}, 304),
        ({"If-Match": '"x"', "Range": "bytes=0-1"}, 412),
    ]
    for method, (headers, status) in itertools.product(("GET", "HEAD"), table):
        answer = await gateway.request(method, "/i/a", headers=headers)
        assert answer.status == status, (method, headers)
        if status == 304:
            assert answer.body == b""
            assert answer.headers["ETag"] == etag
            # RFC 9110 section 15.4.5: the fields that a 200 would have
            assert answer.headers["Cache-Control"] == first.headers["Cache-Control"]
            assert "Content-Type" not in answer.headers


async def test_head_304_412_and_416_are_answered_without_cos_while_the_metadata_is_fresh(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway()
    await add_large(images)
    etag = (await gateway.request("HEAD", "/i/a")).headers["ETag"]
    assert requests_to(cos) == [("HEAD", None)]
    assert (await gateway.request("HEAD", "/i/a")).headers["Cache-Status"].startswith("image-gateway; hit; ttl=")
    assert (await gateway.get("/i/a", headers={"If-None-Match": etag})).status == 304
    assert (await gateway.get("/i/a", headers={"If-Match": '"x"'})).status == 412
    assert (await gateway.get("/i/a", headers={"Range": "bytes=9999999-"})).status == 416
    assert requests_to(cos) == [("HEAD", None)]
    # A range teaches as much as the whole.
    await add_large(images, image_id="b")
    await gateway.get("/i/b", headers={"Range": "bytes=0-9"})
    assert (await gateway.request("HEAD", "/i/b")).headers["Content-Length"] == str(LARGE.size)
    assert requests_to(cos)[1:] == [("GET", "bytes=0-9")]


async def test_old_metadata_is_requested_again(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": {**NO_MEMORY, **ALWAYS_REVALIDATE}})
    await images.add("a", SMALL)
    for _ in range(2):
        assert (await gateway.request("HEAD", "/i/a")).status == 200
    assert len(cos.request_log.requests) == 2
    await images.add("a", SMALL + b"more")
    assert (await gateway.request("HEAD", "/i/a")).headers["Content-Length"] == str(len(SMALL) + 4)
