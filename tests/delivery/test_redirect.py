"""Sending the client to COS itself."""

import time

import aiohttp
import yarl

from tests.conftest import Images, RunningGateway, StartGateway

AWKWARD_KEYS = [
    "with space.png", "a+b.png", "100%.png", "a%2Fb.png", "%E5%9B%BE.png", "hash#1.png", "what?a=b&c.png",
    "quo\"te's.png", "br[ac]k{e}ts(1).png", "./a.png", "dot/./dot.png", "up/../down.png", "double//slash.png",
    "trailing/", "图片/山 与 湖（最终）.png", "tilde~-_.!*'().png", "back\\slash.png", "semi;colon,comma.png", "😀.png",
]  # fmt: skip


async def follow(location: str, method: str = "GET") -> tuple[int, bytes]:
    """Return COS's response at that address."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, yarl.URL(location, encoded=True), allow_redirects=False) as response,
    ):
        return response.status, await response.read()


async def test_the_location_is_the_presigned_url_byte_for_byte(gateway: RunningGateway, images: Images) -> None:
    for number, key in enumerate(AWKWARD_KEYS):
        await images.add(f"cat-{number}", key.encode(), key=key)
        answer = await gateway.get(f"/i/cat-{number}?redirect=true")
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (302, "*")
        assert await follow(answer.headers["Location"]) == (200, key.encode()), key


async def test_a_head_is_sent_to_where_a_head_is_answered(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat")
    answer = await gateway.request("HEAD", "/i/cat?redirect=1")
    assert answer.status == 302
    assert await follow(answer.headers["Location"], "HEAD") == (200, b"")
    assert (await follow(answer.headers["Location"], "GET"))[0] == 403
    for head_or_get in (answer, await gateway.get("/i/cat?redirect=true")):
        # The address may hold the signature of a link (Referrer Policy, section 3.1).
        assert head_or_get.headers["Referrer-Policy"] == "no-referrer"


async def test_a_redirect_is_not_kept_for_longer_than_its_url_is_good(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(
        url_cache={"default_ttl": 600, "min_remaining": 60}, image_proxy={"delivery": "redirect", "max_age": 3600}
    )
    await images.add("cat")
    asked_at = time.time()
    answer = await gateway.get("/i/cat")
    url = (await gateway.get("/api/v1/images/cat/url")).json()["data"]
    assert answer.headers["Location"] == url["url"]
    kept_until = asked_at + int(answer.headers["Cache-Control"].removeprefix("public, max-age="))
    assert kept_until <= url["expires_at"] - 60 + 1


async def test_a_redirect_is_not_kept_for_longer_than_an_image_would_be(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "redirect", "max_age": 5})
    await images.add("cat")
    assert (await gateway.get("/i/cat")).headers["Cache-Control"] == "public, max-age=5"


async def test_a_private_redirect_is_sent_to_its_owner_only(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", owner="alice", public=False)
    answer = await gateway.get("/i/cat?redirect=true", user="alice")
    assert answer.status == 302
    assert answer.headers["Cache-Control"].startswith("private, ")
    assert answer.headers["Vary"] == "Authorization"
    for user in (None, "bob"):
        refused = await gateway.get("/i/cat?redirect=true", user=user)
        assert refused.status == 404
        assert "Location" not in refused.headers
