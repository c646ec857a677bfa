"""A redirect leads to a URL that is signed for one method, so HEAD is not answered with the redirect of a GET."""

import pytest

from tests.conftest import Images, StartGateway
from tests.fronts.conftest import running_front


@pytest.mark.parametrize("first", ["GET", "HEAD"])
async def test_the_object_is_found_by_the_method_that_was_redirected(
    front_name: str, start_gateway: StartGateway, images: Images, first: str
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "redirect"})
    await images.add("a", b"bytes of an image")
    async with running_front(front_name, gateway) as front:
        for method in (first, "HEAD", "GET", "HEAD"):
            answer = await front.request(method, "/i/a")
            assert answer.status == 302
            async with front.session.request(method, answer.headers["Location"]) as object_:
                assert object_.status == 200
