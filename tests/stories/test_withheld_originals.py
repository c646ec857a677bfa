"""Originals that are not for everybody, though a style of the image is: no cache or redirect gives them away."""

import aiohttp
import pytest
import yarl

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.stories.test_variants import STYLES, fields, photo


def is_for_every_cache(answer: Answer) -> bool:
    """Whether a shared cache may give the answer to other clients."""
    return not answer.headers["Cache-Control"].startswith("private")


async def bytes_at(location: str) -> tuple[int, bytes]:
    """COS's answer at the address of a redirect."""
    async with aiohttp.ClientSession() as session, session.get(yarl.URL(location, encoded=True)) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("delivery", ["stream", "redirect", "accel"])
async def test_no_shared_cache_keeps_an_original_for_its_owner(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    """The image is public, but of its original a cache would make a copy for everybody."""
    for first in (True, False):  # then with the entry of Redis
        gateway = await start_gateway(
            image_styles=STYLES, image_variants={"originals": "owner"}, image_proxy={"delivery": delivery}
        )
        if first:
            await images.add("cat", photo(), content_type="image/jpeg", owner="alice")
        original = await gateway.get("/i/cat", user="alice")
        assert original.status in (200, 302)
        control = original.headers.get("X-Image-Cache-Control") or original.headers["Cache-Control"]
        assert control.startswith("private")
        assert "Authorization" in fields(original, "Vary")
        other_version = await gateway.get("/i/cat?v=old", user="alice")
        assert (other_version.status, is_for_every_cache(other_version)) == (302, False)
        assert is_for_every_cache(await gateway.get("/i/cat?style=card&w=160", user="alice"))
        assert (await gateway.get("/i/cat")).status == 404


@pytest.mark.parametrize("delivery", ["stream", "redirect", "accel"])
async def test_an_original_for_its_owner_replaces_no_variant(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, delivery: str
) -> None:
    """A CDN may keep what the owner gets at the address of a style, and send it to all who may see the style."""
    gateway = await start_gateway(
        image_styles=STYLES,
        image_variants={"originals": "owner", "max_new_per_minute": 2},
        image_proxy={"delivery": delivery},
    )
    await images.add("cat", photo(), content_type="image/jpeg", owner="alice")
    cos.faults.add(Fault(action=Refuse(status=400, code="ImageTooLarge"), times=1))
    for width, status in ((160, 422), (320, 422), (640, 503)):  # refused by COS, remembered, and too many
        assert (await gateway.get(f"/i/cat?style=card&w={width}", user="alice")).status == status
    assert (await gateway.get("/i/cat", user="alice")).status in (200, 302)


@pytest.mark.parametrize("query", ["style=teaser", "style=teaser&redirect=true"])
async def test_a_redirect_to_a_public_style_never_ends_at_the_private_original(
    start_gateway: StartGateway, images: Images, query: str
) -> None:
    """A URL lets COS send the original in place of a variant only if the client may see it."""
    gateway: RunningGateway = await start_gateway(
        image_styles=STYLES, image_proxy={"delivery": "redirect"}, cos={"unsigned_parameters": "refused"}
    )
    await images.add("mine", b"no picture", content_type="image/jpeg", owner="alice", public=False)
    for user in ("alice", None):  # the same redirect in either order
        answer = await gateway.get(f"/i/mine?{query}", user=user)
        assert answer.status == 302
        status, body = await bytes_at(answer.headers["Location"])
        assert status == 400
        assert b"no picture" not in body
    card = await gateway.get("/i/mine?style=card&w=160", user="alice")
    assert await bytes_at(card.headers["Location"]) == (200, b"no picture")


@pytest.mark.parametrize("query", ["style=teaser", "style=card&w=160"])
async def test_no_style_of_a_withheld_original_is_redirected_unless_the_bucket_refuses_unsigned_parameters(
    start_gateway: StartGateway, images: Images, query: str
) -> None:
    """The image is public, and its original is for its owner."""
    await images.add("cat", photo(), content_type="image/jpeg", owner="alice")
    for unsigned, status in (("obeyed", 200), ("refused", 302)):
        gateway = await start_gateway(
            image_styles=STYLES,
            image_variants={"originals": "owner"},
            image_proxy={"delivery": "redirect"},
            cos={"unsigned_parameters": unsigned},
        )
        assert (await gateway.get(f"/i/cat?{query}")).status == status
        assert (await gateway.get("/i/cat", user="alice")).status == 302


async def test_an_image_that_becomes_private_has_no_such_redirect_any_more(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(
        image_styles=STYLES,
        image_proxy={"delivery": "redirect"},
        url_cache={"sign_window": 300},
        cos={"unsigned_parameters": "refused"},
    )
    await images.add("cat", b"no picture", content_type="image/jpeg", owner="alice")
    public = await gateway.get("/i/cat?style=teaser")
    assert await bytes_at(public.headers["Location"]) == (200, b"no picture")
    await images.execute("UPDATE images SET is_public = false WHERE id = 'cat'")
    await gateway.forget_everywhere("cat")
    private = await gateway.get("/i/cat?style=teaser")
    assert (private.status, (await bytes_at(private.headers["Location"]))[0]) == (302, 400)
