"""Widths, formats and versions that the element requests, and its use of metadata."""

import io
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Images, RunningGateway, StartGateway
from tests.web.conftest import PASS_ON, Tab, Visit, on_one_loop

STYLES: dict[str, Any] = {
    "card": {"widths": [80, 160], "formats": ["avif", "webp"]},
    "thumb": "imageMogr2/thumbnail/40x",
    "cover": {
        "process": "imageMogr2/auto-orient/crop/{width}x{height}/gravity/{focus}/strip",
        "ratios": ["2:1", "1:1"],
        "widths": [80, 160],
    },
}
SIZE = 'width="200" height="150"'
BOX = "(min-width: 200px) 200px, 100vw"  # sizes of an image of that width
SOURCES = "[...one.querySelectorAll('picture > source')].map(({type, srcset, sizes}) => [type, srcset, sizes])"


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A reddish image of 200 by 150 pixels."""
    out = io.BytesIO()
    Image.new("RGB", (200, 150), (200, 60, 40)).save(out, "JPEG")
    return out.getvalue()


@on_one_loop()
async def gateway(start_gateway: StartGateway, images: Images, photo: bytes) -> RunningGateway:
    """A gateway with styles and the image ``a``."""
    await images.add("a", photo, content_type="image/jpeg")
    return await start_gateway(**PASS_ON, image_styles=STYLES)


def srcset(gateway: RunningGateway, *, form: str | None = None, version: str | None = None) -> str:
    """The candidates of the style ``card``."""
    rest = (f"&format={form}" if form else "") + (f"&v={version}" if version else "")
    base = f"{gateway.ports.public}/i/a?style=card"
    return ", ".join(f"{base}&w={width}{rest} {width}w" for width in (80, 160))


async def version_of(gateway: RunningGateway, image_id: str) -> str:
    """Return the version of an image."""
    version: str = (await gateway.get(f"/api/v1/images/{image_id}/meta")).json()["data"]["version"]
    return version


async def test_widths_and_formats_become_a_picture_element(visit: Visit, gateway: RunningGateway) -> None:
    await visit.open(
        f'<smart-image id="one" image-id="a" alt="" {SIZE} style-name="card" widths="80, 160"'
        f' formats="avif webp original" sizes="80px"></smart-image>'
        f'<smart-image id="two" image-id="a" alt="" {SIZE} style-name="card" widths="80 160" lazy></smart-image>'
        f'<smart-image id="hero" image-id="a" alt="" {SIZE} style-name="card" widths="80" lazy priority></smart-image>'
        f'<smart-image id="plain" image-id="a" alt="" {SIZE} widths="80 160"></smart-image>'
    )
    await visit.all_loaded(4)
    card = f"{gateway.ports.public}/i/a?style=card"
    assert await visit.page.evaluate(SOURCES) == [
        ["image/avif", srcset(gateway, form="avif"), "80px"],
        ["image/webp", srcset(gateway, form="webp"), "80px"],
    ]
    last = await visit.page.evaluate("(({srcset, sizes, src}) => [srcset, sizes, src])(one.querySelector('img'))")
    assert last == [srcset(gateway, form="original"), "80px", card]
    assert await visit.page.evaluate("one.currentSrc") == f"{card}&w=80&format=avif"
    lazy = "(({sizes, loading, srcset}) => [sizes, loading, srcset])(two.querySelector('img'))"
    assert await visit.page.evaluate(lazy) == [f"auto, {BOX}", "lazy", srcset(gateway)]
    hero = "(({sizes, loading, fetchPriority}) => [sizes, loading, fetchPriority])(hero.querySelector('img'))"
    assert await visit.page.evaluate(hero) == [BOX, "auto", "high"]
    # Widths belong to styles.
    assert await visit.page.evaluate("plain.currentSrc") == f"{gateway.ports.public}/i/a"
    # Size and widths are given: there is nothing to ask for.
    assert not visit.asked_for("POST")


async def test_an_image_is_cut_to_the_ratio_of_its_element(tab: Tab) -> None:
    """By the width alone the height is known, so that no call is needed."""
    element = '<smart-image id="{0}" image-id="a" alt="" style-name="cover" widths="80 160" {1}></smart-image>'
    await tab.open(
        element.format("wide", 'ratio="2:1" width="80"')
        + element.format("square", 'ratio="1:1" height="80"')
        + element.format("whole", 'width="80" height="60"')
    )
    for name, size, ratio in (("wide", [80, 40], "2:1"), ("square", [80, 80], "1:1"), ("whole", [80, 60], None)):
        await tab.state(name, "loaded")
        assert await tab.evaluate(f"[{name}.naturalWidth, {name}.naturalHeight]") == size
        assert await tab.evaluate(f"[{name}.offsetWidth, {name}.offsetHeight]") == size
        assert await tab.evaluate(f"new URL({name}.currentSrc).searchParams.get('r')") == ratio
    await tab.evaluate("void (wide.ratio = '1:1')")
    await tab.until("wide.naturalHeight === 80 && wide.offsetHeight === 80")
    assert not tab.front.asked_for("/api/v1/images/urls")


async def test_a_box_gets_the_width_that_it_needs_also_when_it_is_loaded_again(
    visit: Visit, gateway: RunningGateway
) -> None:
    """The box is that of the element, or of the page's ``<img>``; a narrow viewport is narrower."""
    card = f"{gateway.ports.public}/i/a?style=card"
    inner = f'<img src="{card}&amp;w=80" alt="" width="80" height="60">'
    await visit.open(
        '<smart-image id="own" image-id="a" alt="" style-name="card" widths="80 160" width="80" height="60">'
        f'</smart-image><smart-image id="inner" image-id="a" style-name="card" widths="80 160">{inner}</smart-image>'
    )
    await visit.all_loaded(2)
    await visit.page.evaluate("own.reload(); inner.reload()")
    await visit.all_loaded(2)
    assert await visit.page.evaluate("[own.currentSrc, inner.currentSrc]") == [f"{card}&w=80"] * 2
    assert not visit.asked_for("w=160")
    assert not visit.asked_for("POST"), "both have a size"
    sizes = await visit.page.evaluate("own.querySelector('img').sizes")
    assert sizes == "(min-width: 80px) 80px, 100vw", "no more than the viewport"
    assert await visit.page.evaluate("[inner.offsetWidth, inner.offsetHeight]") == [80, 60]


async def test_a_page_that_knows_the_styles_shows_pictures_without_a_call(
    visit: Visit, gateway: RunningGateway
) -> None:
    """It has ``config.json`` inline, also under a strict Content-Security-Policy."""
    told = (await gateway.get("/static/config.json")).body.decode()
    base = gateway.ports.public
    address = visit.site.put(
        "/",
        f"""<script type="application/json" id="smart-image-config">{told}</script>
            <smart-image id="one" image-id="a" alt="" {SIZE} style-name="card"></smart-image>
            <smart-image id="two" image-id="a" alt="" {SIZE} style-name="thumb"></smart-image>
            <script type="module" src="{base}/static/smart-image.js"></script>""",
        headers={"Content-Security-Policy": f"default-src 'none'; script-src {base}; img-src {base}"},
    )
    await visit.page.goto(address)
    await visit.all_loaded(2)
    assert await visit.page.evaluate("one.currentSrc") == f"{base}/i/a?style=card&w=160&format=avif"
    assert await visit.page.evaluate("two.currentSrc") == f"{base}/i/a?style=thumb"
    assert not visit.asked_for("/api/")


async def test_an_img_of_the_page_is_shown_without_a_call_for_its_style(visit: Visit, gateway: RunningGateway) -> None:
    card = f"{gateway.ports.public}/i/a?style=card"
    await visit.open(
        f'<smart-image id="one" image-id="a" style-name="card"><img src="{card}&amp;w=80" alt="" {SIZE}></smart-image>',
        script="window.linked = []; configureSmartImage({getLink: (id) => linked.push(id) && null})",
    )
    await visit.state("#one", "loaded")
    assert not visit.asked_for("POST")
    assert await visit.page.evaluate("linked") == []


async def test_a_page_that_loads_the_file_by_both_of_its_names_has_one_configuration(
    visit: Visit, gateway: RunningGateway
) -> None:
    path = (await gateway.get("/static/config.json")).json()["script"]["path"]
    await visit.open(
        f'<smart-image id="one" image-id="a" alt="" {SIZE}></smart-image>',
        script=f"""
          window.linked = [];
          const other = await import("{gateway.ports.public}{path}");
          other.configureSmartImage({{getLink: (id) => linked.push(id) && null}});
          one.reload();
        """,
    )
    await visit.until("() => linked.length === 1")


async def test_the_gateway_lists_widths_formats_and_version(visit: Visit, gateway: RunningGateway) -> None:
    await visit.open(
        '<smart-image id="one" image-id="a" alt="" style-name="card" sizes="160px"></smart-image>'
        '<smart-image id="two" image-id="a" alt="" style-name="thumb"></smart-image>'
    )
    await visit.all_loaded(2)
    version = await version_of(gateway, "a")
    sources = await visit.page.evaluate(SOURCES)
    assert [source[:2] for source in sources] == [
        ["image/avif", srcset(gateway, form="avif", version=version)],
        ["image/webp", srcset(gateway, form="webp", version=version)],
    ]
    card = f"{gateway.ports.public}/i/a?style=card"
    assert await visit.page.evaluate("one.querySelector('img').src") == f"{card}&v={version}"
    assert await visit.page.evaluate("one.currentSrc") == f"{card}&w=160&format=avif&v={version}"
    assert await visit.page.evaluate("one.naturalWidth") == 160
    # A style with one result has no candidates.
    thumb = await visit.page.evaluate("(({src, srcset}) => [src, srcset])(two.querySelector('img'))")
    assert thumb == [f"{gateway.ports.public}/i/a?style=thumb&v={version}", ""]
    assert len(visit.asked_for("POST")) == 1


async def test_the_space_is_reserved_before_the_bytes_and_has_the_colour_of_the_image(visit: Visit) -> None:
    await visit.hold("**/i/a*")
    await visit.open('<smart-image id="one" image-id="a" alt=""></smart-image><p id="below"></p>')
    await visit.until("() => one.offsetWidth === 200 && one.offsetHeight === 150")
    img = visit.page.locator("#one > img")
    assert [await img.get_attribute(name) for name in ("width", "height")] == ["200", "150"]
    # A second element knows it at once.
    await visit.page.evaluate(
        "below.insertAdjacentHTML('afterend', '<smart-image id=two image-id=a alt=\"\"></smart-image>')"
    )
    await visit.until("() => two.offsetWidth === 200 && two.offsetHeight === 150")
    assert len(visit.asked_for("POST")) == 1
    look = "getComputedStyle(one.shadowRoot.querySelector('[part=placeholder]'))"
    red, green, blue = map(
        int, (await visit.page.evaluate(f"{look}.backgroundColor")).removeprefix("rgb(").rstrip(")").split(",")
    )
    assert (red > 180, green < 80, blue < 60) == (True, True, True)
    # The address of a small image; it cannot break out of its declaration.
    await visit.page.evaluate("one.placeholder = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=\"); color: red'")
    await visit.until(f"""() => {look}.backgroundImage.startsWith('url("data:image/gif')""")
    assert await visit.page.evaluate("getComputedStyle(one).color") != "rgb(255, 0, 0)"


async def test_the_tiny_copy_of_the_metadata_is_shown_where_the_policy_allows_it_else_the_colour(
    tab: Tab, start_gateway: StartGateway
) -> None:
    other = await start_gateway(**PASS_ON, image_variants={"placeholders": True})
    tab.front.behind = other.ports.public
    tab.front.hold("/i/a")
    await tab.open('<div id="place"></div>')
    await tab.evaluate(
        f"""place.innerHTML = `<smart-image id="one" image-id="a" alt=""></smart-image>
              <smart-image id="two" image-id="a" alt="" {SIZE} placeholder="blur"></smart-image>
              <smart-image id="three" image-id="a" alt="" {SIZE} placeholder="#123"></smart-image>`"""
    )
    styles = "[one, two, three].map((image) => getComputedStyle(image.shadowRoot.querySelector('[part=placeholder]')))"
    tiny = 'backgroundImage.startsWith(`url("data:image/webp;base64,`)'
    await tab.until(f"{styles}.slice(0, 2).every((style) => style.{tiny})")
    colours = await tab.evaluate(f"{styles}.map((style) => style.backgroundColor)")
    assert colours[0] == colours[1] != colours[2] == "rgb(17, 34, 51)"
    assert colours[0].startswith("rgb(")
    assert await tab.evaluate(f"{styles}[2].backgroundImage") == "none"
    assert len(tab.front.asked_for("POST")) == 1


async def test_images_without_a_size_do_not_shift_the_layout_while_the_page_is_scrolled(visit: Visit) -> None:
    await visit.open(
        """<script>
             window.shifts = 0;
             new PerformanceObserver((list) => { for (const {value} of list.getEntries()) shifts += value; })
               .observe({type: "layout-shift", buffered: true});
           </script>
           <div style="height: 2000px"></div>
           <smart-image id="one" image-id="a" alt="" lazy></smart-image><p>Below</p>
           <div style="height: 2000px"></div>"""
    )
    await visit.until("() => one.state === 'idle'")
    await visit.page.mouse.move(400, 300)
    for _ in range(8):
        await visit.page.mouse.wheel(0, 250)
        await visit.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        if await visit.page.evaluate("one.state !== 'idle'"):
            await visit.state("#one", "loaded")
    await visit.state("#one", "loaded")
    await visit.until("() => scrollY > 1000")
    assert await visit.page.evaluate("shifts") == 0


async def test_an_image_is_loaded_though_its_metadata_cannot_be(visit: Visit, gateway: RunningGateway) -> None:
    """The call fails, or the answer has no metadata, as that of a gateway of another version."""
    await visit.page.route("**/api/v1/images/urls", lambda route: route.abort())
    await visit.open('<smart-image id="one" image-id="a" alt="" style-name="card"></smart-image>')
    await visit.state("#one", "loaded")
    assert await visit.page.evaluate("one.currentSrc") == f"{gateway.ports.public}/i/a?style=card"
    assert await visit.types("one") == ["load"]

    await visit.page.unroute("**/api/v1/images/urls")
    found = {"a": {"url": "https://cos.invalid/a", "expires_at": 4_000_000_000}}
    answer = {"status": "success", "message": "ok", "data": {"urls": found, "errors": {}}}
    cors = {"Access-Control-Allow-Origin": "*"}
    await visit.page.route("**/api/v1/images/urls", lambda route: route.fulfill(json=answer, headers=cors))
    await visit.page.evaluate("one.styleName = 'thumb'")
    await visit.until("() => one.state === 'loaded' && one.currentSrc.endsWith('/i/a?style=thumb')")
    asked = len(visit.asked_for("POST"))
    await visit.page.evaluate("one.styleName = 'card'")
    await visit.until("() => one.state === 'loaded' && one.currentSrc.endsWith('/i/a?style=card')")
    assert len(visit.asked_for("POST")) == asked  # it is not asked again


async def test_originals_for_owners_alone_have_no_presigned_url(
    visit: Visit, start_gateway: StartGateway, photo: bytes, images: Images
) -> None:
    """In url mode the permanent address is used, with the style."""
    await images.add("b", photo, content_type="image/jpeg", owner="alice")
    visit.gateway = gateway = await start_gateway(**PASS_ON, image_styles=STYLES, image_variants={"originals": "owner"})
    await visit.open(
        '<smart-image id="one" mode="url" image-id="b" alt="" style-name="thumb"></smart-image>'
        f'<smart-image id="two" mode="url" image-id="b" alt="" style-name="thumb" {SIZE}></smart-image>'
    )
    await visit.all_loaded(2)
    version = await version_of(gateway, "b")
    assert await visit.page.evaluate("one.currentSrc") == f"{gateway.ports.public}/i/b?style=thumb&v={version}"
