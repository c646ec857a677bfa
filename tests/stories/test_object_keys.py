"""Object keys with characters that URLs must escape."""

import pytest
import yarl

from gateway.dev.database import ImageRow
from tests.conftest import Images, RunningGateway

AWKWARD_KEYS = [
    "with space.png",
    "a+b.png",
    "100%.png",
    "a%2Fb.png",
    "%E5%9B%BE.png",
    "hash#1.png",
    "what?.png",
    "a&b=c.png",
    "quo\"te's.png",
    "br[ac]k{e}ts(1).png",
    "dot/./dot.png",
    "up/../down.png",
    "double//slash.png",
    "trailing/",
    "图片/山 与 湖（最终）.png",
    "tilde~-_.!*'().png",
    "back\\slash.png",
    "semi;colon,comma.png",
    "😀.png",
]


@pytest.mark.parametrize("key", AWKWARD_KEYS)
async def test_awkward_object_keys_are_streamed_and_redirected_to(
    gateway: RunningGateway, images: Images, key: str
) -> None:
    await images.add("odd", key.encode() * 3, key=key)
    streamed = await gateway.get("/i/odd")
    assert (streamed.status, streamed.body) == (200, key.encode() * 3)

    redirected = await gateway.get("/i/odd?redirect=true")
    assert redirected.status == 302
    location = yarl.URL(redirected.headers["Location"], encoded=True)
    async with gateway.session.get(location) as answer:
        assert (answer.status, await answer.read()) == (200, key.encode() * 3)


async def test_one_leading_slash_is_removed_from_a_key(gateway: RunningGateway, images: Images) -> None:
    """As in the SDK: applications store keys with and without it."""
    await images.add("a", b"body", key="folder/a.png")
    await images.add_row(ImageRow("slashed", None, "/folder/a.png", public=True))
    assert (await gateway.get("/i/slashed")).body == b"body"
