"""Addresses that name the version of an image: they may be kept for a year."""

import pytest
import yarl

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.test_variants import STYLES, gateway, photo, picture

__all__ = ["gateway"]


async def test_versions(start_gateway: StartGateway, images: Images) -> None:
    """``v=``: a year with the right one, a redirect to the right one with another."""
    await images.execute("ALTER TABLE images ADD COLUMN IF NOT EXISTS version text")
    gateway = await start_gateway(
        image_styles=STYLES,
        postgres={"columns": {"version": "version"}},
    )
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.execute("UPDATE images SET version = '7' WHERE id = 'cat'")
    right = await gateway.get("/i/cat?style=card&w=160&v=7")
    assert right.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    old = await gateway.get("/i/cat?style=card&v=6&w=160")
    assert (old.status, old.headers["Location"]) == (302, "?style=card&v=7&w=160")
    assert old.headers["Cache-Control"].startswith("public, max-age=60")
    assert (await gateway.get("/i/cat?v=7")).headers["Cache-Control"].endswith("immutable")
    await images.execute("UPDATE images SET version = 'a b' WHERE id = 'cat'")
    await gateway.forget_everywhere("cat")
    hashed = (await gateway.get("/i/cat?v=7")).headers["Location"].removeprefix("?v=")
    assert (await gateway.get(f"/i/cat?v={hashed}")).headers["Cache-Control"].endswith("immutable")


@pytest.mark.parametrize("query", ["style=card&%76=6&w=160", "v=6&v=5", "style=card&v=%36", "%76=6&v=7", "v=6&x=v=6"])
async def test_any_spelling_of_another_version_leads_to_the_right_one(gateway: RunningGateway, query: str) -> None:
    def exactly(query: str) -> yarl.URL:
        return yarl.URL(f"{gateway.ports.public}/i/cat?{query}", encoded=True)

    async with gateway.session.get(exactly(query), allow_redirects=False) as redirect:
        assert redirect.status == 302
        location = redirect.headers["Location"].removeprefix("?")
    async with gateway.session.get(exactly(location), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Cache-Control"][-9:]) == (200, "immutable")


@pytest.mark.parametrize("query", ["v=7", "style=card&w=160&v=7"])
async def test_bytes_of_the_next_version_are_not_kept_for_a_year_at_the_address_of_the_last(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, query: str
) -> None:
    """The row changes after its version was compared: COS refuses the URL, and the new row names another object."""
    await images.execute("ALTER TABLE images ADD COLUMN IF NOT EXISTS version text")
    gateway = await start_gateway(
        image_styles=STYLES,
        postgres={"columns": {"version": "version"}, "listen": False},
        image_proxy={"memory_cache": {"max_bytes": 0}},
    )
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.execute("UPDATE images SET version = '7' WHERE id = 'cat'")
    assert (await gateway.get(f"/i/cat?{query}")).headers["Cache-Control"].endswith("immutable")
    await images.add("cat", photo(300, 300), content_type="image/jpeg", key="objects/other.png")
    await images.execute("UPDATE images SET version = '8' WHERE id = 'cat'")
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied")))
    answer = await gateway.get(f"/i/cat?{query}")
    assert (answer.status, answer.headers["Location"]) == (302, f"?{query.replace('v=7', 'v=8')}")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    made = picture((await gateway.get(f"/i/cat{answer.headers['Location']}")).body)
    assert made.width == made.height
