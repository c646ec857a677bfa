"""Delivery by redirect to a presigned URL."""

import yarl

from tests.conftest import Images, StartGateway


async def test_a_redirect_never_outlives_its_url(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(url_cache={"default_ttl": 100, "min_remaining": 30})
    await images.add("a")
    answer = await gateway.request("HEAD", "/i/a?redirect=true")
    max_age = int(answer.headers["Cache-Control"].removeprefix("public, max-age="))
    assert 50 <= max_age <= 70
    async with gateway.session.head(yarl.URL(answer.headers["Location"], encoded=True)) as followed:
        assert followed.status == 200  # a URL signed for GET would be refused


async def test_redirects_can_be_the_default(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "redirect"})
    await images.add("a")
    assert (await gateway.get("/i/a")).status == 302
