"""Delivery by nginx: the headers that nginx receives; ``tests/nginx`` tests what nginx does with them."""

import re
import time

import pytest
import yarl

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway, token_for
from tests.stories.content import LARGE, SMALL, add_large, requests_to


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with ``accel`` that does not listen to changes in Postgres."""
    return await start_gateway(
        image_proxy={"delivery": "accel", "accel_prefix": "/_bytes/"}, postgres={"listen": False}
    )


async def test_the_presigned_url_has_its_own_header(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    await images.add("mine", SMALL, key="a b/图%2F.png", owner="alice", public=False)
    answer = await gateway.get("/i/mine", user="alice")
    assert (answer.status, answer.body) == (200, b"")
    assert re.fullmatch("/_bytes/[0-9a-f]{40}", answer.headers["X-Accel-Redirect"])
    async with gateway.session.get(yarl.URL(answer.headers["X-Origin-URL"], encoded=True)) as fetched:
        assert (await fetched.read(), fetched.headers["ETag"]) == (SMALL, answer.headers["X-Origin-ETag"])
        assert fetched.headers["Content-Length"] == answer.headers["X-Origin-Length"]
    assert (await gateway.get("/i/mine", user="bob")).status == 404
    again = await gateway.get("/i/mine", user="alice")
    assert again.headers["X-Accel-Redirect"] == answer.headers["X-Accel-Redirect"]
    assert [seen.method for seen in cos.request_log.requests] == ["HEAD", "GET"]


async def test_nginx_may_repeat_an_order_for_as_long_as_its_url_and_the_right_last(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(
        image_proxy={"delivery": "accel", "max_age": 300},
        image_styles={"small": "imageMogr2/thumbnail/100x"},
        url_cache={"default_ttl": 200, "min_remaining": 60},
        url_prerefresh={"threshold": 100},
    )
    for image_id, public in (("open", True), ("mine", False)):
        await images.add(image_id, SMALL, owner="alice", public=public)

    async def kept_for(path: str, user: str | None = None, **headers: str) -> int:
        answer = await gateway.get(path, user=user, headers=headers)
        return int(answer.headers.get("X-Decision-For", "0"))

    assert 100 < await kept_for("/i/open") <= 140, "the URL is not handed out in its last minute"
    assert await kept_for("/i/mine", "alice") == 10
    token = token_for("alice", exp=int(time.time()) + 8)
    assert 1 <= await kept_for("/i/mine", Authorization=f"Bearer {token}") <= 8
    assert await kept_for("/i/open", Range="bytes=0-1") == 0, "the order may be for a part"
    assert await kept_for("/i/mine", "bob") == 0
    await gateway.reload(image_proxy={"max_age": 30})
    assert await kept_for("/i/open") == 30
    await gateway.reload(access={"decision_ttl": 0})
    assert [await kept_for("/i/open"), await kept_for("/i/mine", "alice")] == [0, 0]


async def test_answers_without_a_body_do_not_involve_nginx(gateway: RunningGateway, images: Images) -> None:
    await add_large(images)
    head = await gateway.request("HEAD", "/i/a")
    assert head.headers["Content-Length"] == str(LARGE.size)
    assert (await gateway.get("/i/a", headers={"If-None-Match": head.headers["ETag"]})).status == 304
    assert (await gateway.get("/i/a", headers={"Range": "bytes=9999999-"})).status == 416
    part = await gateway.get("/i/a", headers={"Range": "bytes=5-9"})
    assert part.headers["X-Accel-Redirect"].startswith("/_bytes/part/")
    assert (part.headers["X-Origin-Range"], part.headers["X-Origin-Length"]) == ("bytes=5-9", "5")
    assert requests_to(images.cos) == [("HEAD", None)]


async def test_a_refused_url_is_signed_again_before_nginx_receives_it(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", SMALL)
    await images.add("b", SMALL)
    for image_id in "ab":
        await gateway.get(f"/api/v1/images/{image_id}/url")
    await images.add("b", b"moved", key="elsewhere.png")
    for key in ("objects/a.png", "objects/b.png"):
        images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key=key))
    answer = await gateway.get("/i/a")
    assert "X-Accel-Redirect" in answer.headers
    moved = await gateway.get("/i/b")
    assert ("elsewhere.png" in moved.headers["X-Origin-URL"], moved.headers["X-Origin-Length"]) == (True, "5")


async def test_an_object_that_is_not_an_image_is_refused(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", b"<html>", content_type="text/html")
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.json()["code"]) == (502, "not_an_image")
