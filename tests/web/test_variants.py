"""Widths, formats and versions: the addresses that the element makes, and what it does with metadata."""

import json
from typing import Any

import pytest
from playwright.async_api import Route

from tests.conftest import Images, RunningGateway, StartGateway
from tests.web.conftest import PASS_ON, Visit

CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
STYLES = {"card": {"widths": [80, 160], "formats": ["avif", "webp"], "url": "/i/a?style=card&w={w}&format={format}"}}
META = {
    "image_id": "a",
    "content_type": "image/png",
    "width": 80,
    "height": 60,
    "version": "7",
    "color": "#336699",
    "placeholder": None,
    "styles": STYLES,
}
SOURCES = "[...one.querySelectorAll('picture > source')].map(({type, srcset, sizes}) => [type, srcset, sizes])"


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with a style."""
    return await start_gateway(**PASS_ON, image_styles={"card": "imageMogr2/thumbnail/80x"})


async def with_metadata(visit: Visit, meta: dict[str, Any] | None = None) -> None:
    """Answer the batch call with these metadata, or those of the default."""

    async def answer(route: Route) -> None:
        asked = json.loads(route.request.post_data or "{}")
        found = {
            image_id: {"url": f"https://cos.invalid/{image_id}", "expires_at": 4e9, "meta": meta or META}
            for image_id in asked.get("image_ids", ())
        }
        await route.fulfill(
            json={"status": "success", "message": "ok", "data": {"urls": found, "errors": {}}}, headers=CORS
        )

    await visit.page.route("**/api/v1/images/urls", answer)


async def keep_waiting(route: Route) -> None:
    """Never answer."""


async def with_any_variant(visit: Visit, png: bytes) -> None:
    """Answer every variant: the addresses are what is tested here."""
    await visit.page.route("**/i/*?*", lambda route: route.fulfill(body=png, content_type="image/png", headers=CORS))


async def test_formats_and_widths_become_a_picture_element(
    visit: Visit, images: Images, png: bytes, gateway: RunningGateway
) -> None:
    await images.add("a", png)
    await with_any_variant(visit, png)
    size = 'width="80" height="60"'
    await visit.open(
        f'<smart-image id="one" image-id="a" alt="" {size} style-name="card" widths="80, 160"'
        f' formats="avif webp original" sizes="80px"></smart-image>'
        f'<smart-image id="two" image-id="a" alt="" {size} style-name="card" widths="80 160" lazy></smart-image>'
        f'<smart-image id="hero" image-id="a" alt="" {size} style-name="card" widths="80" lazy priority></smart-image>'
        f'<smart-image id="plain" image-id="a" alt="" {size} widths="80 160"></smart-image>'
    )
    await visit.all_loaded(4)
    card = f"{gateway.ports.public}/i/a?style=card"

    def srcset(form: str) -> str:
        return ", ".join(f"{card}&w={width}&format={form} {width}w" for width in (80, 160))

    assert await visit.page.evaluate(SOURCES) == [
        ["image/avif", srcset("avif"), "80px"],
        ["image/webp", srcset("webp"), "80px"],
    ]
    last = await visit.page.evaluate("(({srcset, sizes, src}) => [srcset, sizes, src])(one.querySelector('img'))")
    assert last == [srcset("original"), "80px", card]
    assert await visit.page.evaluate("one.currentSrc") == f"{card}&w=80&format=avif"
    lazy = "(({sizes, loading, srcset}) => [sizes, loading, srcset])(two.querySelector('img'))"
    assert await visit.page.evaluate(lazy) == ["auto, 100vw", "lazy", f"{card}&w=80 80w, {card}&w=160 160w"]
    hero = "(({sizes, loading, fetchPriority}) => [sizes, loading, fetchPriority])(hero.querySelector('img'))"
    assert await visit.page.evaluate(hero) == ["100vw", "auto", "high"]
    # Widths belong to styles.
    assert await visit.page.evaluate("plain.currentSrc") == f"{gateway.ports.public}/i/a"
    # Size and widths are given: there is nothing to ask for.
    assert not visit.asked_for("POST")


async def test_metadata_give_the_widths_formats_and_version_of_a_style(
    visit: Visit, png: bytes, gateway: RunningGateway
) -> None:
    await with_any_variant(visit, png)
    await with_metadata(visit)
    await visit.open('<smart-image id="one" image-id="a" alt="" style-name="card" sizes="160px"></smart-image>')
    await visit.state("#one", "loaded")
    card = f"{gateway.ports.public}/i/a?style=card"
    sources = await visit.page.evaluate(SOURCES)
    assert [type_ for type_, _, _ in sources] == ["image/avif", "image/webp"]
    assert sources[0][1] == f"{card}&w=80&format=avif&v=7 80w, {card}&w=160&format=avif&v=7 160w"
    assert await visit.page.evaluate("one.querySelector('img').src") == f"{card}&v=7"
    assert await visit.page.evaluate("one.currentSrc") == f"{card}&w=160&format=avif&v=7"
    assert len(visit.asked_for("POST")) == 1


async def test_metadata_reserve_the_space_before_the_bytes_and_fill_it_with_the_colour(
    visit: Visit, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    await with_metadata(visit)
    # The bytes do not come.
    await visit.page.route("**/i/a*", keep_waiting)
    await visit.open('<smart-image id="one" image-id="a" alt=""></smart-image><p id="below">Below</p>')
    await visit.until("() => one.offsetWidth === 80 && one.offsetHeight === 60")
    assert await visit.page.evaluate("[one.querySelector('img').width, one.querySelector('img').height]") == [80, 60]
    placeholder = "getComputedStyle(one.shadowRoot.querySelector('[part=placeholder]')).backgroundColor"
    assert await visit.page.evaluate(placeholder) == "rgb(51, 102, 153)"
    await visit.page.evaluate("one.placeholder = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=\"); color: red'")
    await visit.until(
        """() => getComputedStyle(one.shadowRoot.querySelector('[part=placeholder]'))
             .backgroundImage.startsWith('url("data:image/gif')"""
    )
    assert await visit.page.evaluate("getComputedStyle(one.shadowRoot.host).color") != "rgb(255, 0, 0)"


async def test_a_gateway_without_metadata_is_asked_once(visit: Visit, images: Images, png: bytes) -> None:
    await images.add("a", png)
    await images.add("b", png)
    await visit.open('<smart-image id="one" image-id="a" alt="" style-name="card"></smart-image>')
    await visit.state("#one", "loaded")
    assert (await visit.page.evaluate("one.currentSrc")).endswith("/i/a?style=card")
    without = await visit.page.evaluate("imageProxy.meta('a').then((meta) => meta === undefined)")
    await visit.page.evaluate("one.imageId = 'b'")
    await visit.until("() => one.currentSrc.endsWith('/i/b?style=card')")
    assert len(visit.asked_for("POST")) == (1 if without else 2)


async def test_a_style_without_metadata_is_loaded_though_the_call_fails(
    visit: Visit, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    await visit.page.route("**/api/v1/images/urls", lambda route: route.abort())
    await visit.open('<smart-image id="one" image-id="a" alt="" style-name="card"></smart-image>')
    await visit.state("#one", "loaded")
    assert await visit.types("one") == ["load"]
    visit.console_errors.clear()  # CORS and network errors of the call
