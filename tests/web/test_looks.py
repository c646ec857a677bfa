"""The user interface: texts, keyboard, assistive technology, slots; and reports."""

import io
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.async_api import expect

from gateway_dev.cos_emulator.faults import Fault, Refuse
from tests.conftest import Images
from tests.web.conftest import Tab, Visit

AXE = Path(__file__).parents[2] / "gateway" / "web" / "node_modules" / "axe-core" / "axe.min.js"
SIZE = 'width="240" height="180"'
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# A retry waits a random part of its delay: 23 days at most, so that a slow test does not see the end of it.
FAR_AWAY = 'retry-delay="2000000000" retry-max-delay="2000000000"'
# One element in each state.
STATES = f"""
  <style>:root {{ color-scheme: light dark; }}</style>
  <main><h1>States</h1>
    <smart-image id="loaded" image-id="a" alt="A gradient" {SIZE}></smart-image>
    <smart-image id="missing" image-id="x" alt="Missing" {SIZE}></smart-image>
    <smart-image id="failed" image-id="b" alt="Failing" {SIZE} max-retries="0"></smart-image>
    <smart-image id="chinese" image-id="b" alt="Failing too" {SIZE} max-retries="0" lang="zh"></smart-image>
    <smart-image id="retrying" image-id="b" alt="Retrying" {SIZE} {FAR_AWAY}></smart-image>
    <smart-image id="fallback" image-id="y" alt="Fallback" {SIZE} fallback-src="GATEWAY/i/a"></smart-image>
    <smart-image id="tiny" image-id="x" alt="Tiny" width="40" height="30"></smart-image>
    <smart-image id="loading" image-id="c" alt="Loading" {SIZE} timeout="0"></smart-image>
    <smart-image id="idle" alt="Idle" {SIZE}></smart-image>
    <p id="end"></p>
  </main>
"""


async def open_states(visit: Visit, images: Images, png: bytes, *, offline: bool = False) -> None:
    """Open a page with an element in each state, the state ``offline`` too if the browser is to end up offline."""
    await images.add("a", png)
    await images.add("b", png)
    await visit.hold("**/i/c")
    images.cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None, key="objects/b.png"))
    await visit.open(STATES.replace("GATEWAY", visit.gateway.ports.public))
    for name in ("loaded", "failed", "retrying", "fallback", "loading", "idle"):
        await visit.state(f"#{name}", name)
    for name in ("missing", "chinese", "tiny"):
        await visit.state(f"#{name}", "failed")
    if offline:
        await visit.page.context.set_offline(True)
        await visit.page.evaluate(
            f"""end.insertAdjacentHTML("beforebegin",
                  '<smart-image id="offline" image-id="d" alt="Offline" {SIZE}></smart-image>')"""
        )
        await visit.state("#offline", "offline")


async def test_every_state_has_a_light_and_a_dark_look_in_which_axe_finds_nothing(
    visit: Visit, images: Images, png: bytes, tmp_path: Path
) -> None:
    """Screenshots of all elements: to look at them, name a folder with ``--basetemp``."""
    await open_states(visit, images, png, offline=True)
    await visit.page.add_script_tag(path=AXE)
    corners: dict[str, list[int]] = {}
    looks: dict[str, list[bytes]] = {}
    for scheme in SCHEMES:
        await visit.page.emulate_media(color_scheme=scheme)
        found = await visit.page.evaluate("axe.run().then(({violations}) => violations)")
        assert [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found] == []
        await visit.page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
        for name in await visit.page.evaluate("[...document.querySelectorAll('smart-image')].map(({id}) => id)"):
            shot = await visit.page.locator(f"#{name}").screenshot(path=tmp_path / f"{name}-{scheme}.png")
            picture = Image.open(io.BytesIO(shot)).convert("L")
            # Without the edge, which is the page's if the element does not begin at a whole pixel.
            looks.setdefault(name, []).append(picture.crop((2, 2, picture.width - 2, picture.height - 2)).tobytes())
            corners.setdefault(name, []).append(int(str(picture.getpixel((2, picture.height - 3)))))
    for name in ("loaded", "fallback"):
        assert looks[name][0] == looks[name][1], "an image is not covered"
    for name in ("missing", "failed", "chinese", "retrying", "offline", "loading", "idle", "tiny"):
        light, dark = corners[name]
        assert (light > 200, dark < 60) == (True, True), name
    # The browser draws a frame for an <img> without a source.
    assert await visit.page.evaluate("getComputedStyle(idle.querySelector('img')).opacity") == "0"
    # Each state differs from the others.
    assert len({look[0] for name, look in looks.items() if name != "fallback"}) == len(looks) - 1


async def test_messages_are_in_the_language_of_the_page_edges_stay_and_spinners_may_stand_still(
    visit: Visit, images: Images, png: bytes
) -> None:
    await open_states(visit, images, png)
    said = {
        name: await visit.page.evaluate(f"{name}.shadowRoot.querySelector('[part=message]').textContent")
        for name in ("loaded", "missing", "failed", "chinese", "retrying")
    }
    assert said == {
        "loaded": "",
        "missing": "This image is not available.",
        "failed": "The image could not be loaded.",
        "chinese": "图片加载失败。",
        "retrying": "Trying again…",
    }
    await visit.page.evaluate("configureSmartImage({messages: {en: {failed: 'No image today.'}}})")
    await visit.page.evaluate("failed.width = 250")
    await visit.until("() => failed.shadowRoot.textContent.includes('No image today.')")
    look = "(({animationName, opacity}) => [animationName, opacity])"
    spinner = f"{look}(getComputedStyle(retrying.shadowRoot.querySelector('[part=spinner]')))"
    assert await visit.page.evaluate(spinner) == ["none", "1"]  # as the visitor prefers
    await visit.page.emulate_media(reduced_motion="no-preference", forced_colors="active")
    assert (await visit.page.evaluate(spinner))[0] == "turn"
    edges = """[["failed", "button", "border"], ["failed", ".cover", "outline"], ["idle", "div", "outline"]]
      .map(([id, selector, edge]) => {
        const style = getComputedStyle(document.getElementById(id).shadowRoot.querySelector(selector));
        return [style[`${edge}Style`], style[`${edge}Width`], style[`${edge}Color`].startsWith("rgba")];
      })"""
    assert await visit.page.evaluate(edges) == [["solid", "1px", False]] * 3


async def test_one_live_region_speaks_for_all_pictures_but_decorative_ones(
    visit: Visit, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    await visit.open(
        "".join(f'<smart-image id="p{n}" image-id="x{n}" alt="Picture {n}" {SIZE}></smart-image>' for n in range(3))
        + f'<smart-image id="silent" image-id="y" alt="" {SIZE}></smart-image>'
        f'<smart-image id="fine" image-id="a" alt="A gradient" {SIZE}></smart-image>'
    )
    region = visit.page.get_by_role("status")
    await expect(region).to_have_text("3 pictures could not be loaded.")
    await visit.state("#silent", "failed")
    hidden = "[p0, silent].map((e) => e.shadowRoot.querySelector('[part=message]').ariaHidden)"
    assert await visit.page.evaluate(hidden) == ["false", "true"]
    # An attribute that changes is no failure, nor is a picture that is gone.
    await visit.page.evaluate("p0.width = 250; p1.remove(); p2.remove(); fine.imageId = 'z'")
    await expect(region).to_have_text("2 pictures could not be loaded.")
    await visit.page.evaluate("p0.remove(); fine.imageId = 'z2'")
    await expect(region).to_have_text("A gradient: This image is not available.")
    box = await region.bounding_box()
    assert await visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), box


async def test_a_small_box_shows_a_sign_instead_of_clipped_text(visit: Visit, images: Images, png: bytes) -> None:
    """Its size comes from attributes, or from the page's style sheet."""
    await images.add("b", png)
    images.cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None, key="objects/b.png"))
    await visit.open(
        """<style>.icon { width: 48px; height: 48px }</style>
           <smart-image id="missing" image-id="x" alt="One" width="64" height="64"></smart-image>
           <smart-image id="icon" class="icon" image-id="x" alt="Two"></smart-image>
           <smart-image id="again" image-id="b" alt="Three" width="40" height="30" max-retries="0"></smart-image>
           <smart-image id="large" image-id="x" alt="Four" width="240" height="180"></smart-image>
           <smart-image id="sizeless" image-id="x" alt="Five"></smart-image>
           <smart-image id="slotted" image-id="x"><p slot="error" style="width: 300px">Own</p></smart-image>"""
    )
    names = ("missing", "icon", "again", "large", "sizeless", "slotted")
    for name in names:
        await visit.state(f"#{name}", "failed")
    message = "e.shadowRoot.querySelector('[part=message]')"
    looks = f"[{','.join(names)}].map((e) => [getComputedStyle({message}, '::before').content[1], e.offsetWidth])"
    signs, widths = zip(*await visit.page.evaluate(looks), strict=True)
    assert (*signs[:2], signs[4]) == ("⚠", "⚠", "⚠")
    assert signs[3] == "o", "none"
    assert widths[:4] == (64, 48, 40, 240)
    assert widths[4] < 80, "no space for the text: it would move what follows"
    assert widths[5] >= 300, "so has the page's own text"
    # The text is there for assistive technology, and the button can be hit.
    assert await visit.page.evaluate(f"((e) => {message}.textContent)(missing)") == "This image is not available."
    boxes = "[again, again.shadowRoot.querySelector('button')].map((e) => JSON.stringify(e.getBoundingClientRect()))"
    host, button = await visit.page.evaluate(boxes)
    assert host == button
    await visit.page.get_by_role("button", name="Try again: Three").click()


async def test_texts_have_their_own_direction(visit: Visit) -> None:
    await visit.open(
        f'<smart-image id="one" image-id="x" alt="" lang="ar" {SIZE}></smart-image>'
        f'<div dir="rtl"><smart-image id="two" image-id="x" alt="" {SIZE}></smart-image></div>',
        script="configureSmartImage({messages: {ar: {not_found: 'هذه الصورة غير متاحة.'}}})",
    )
    for name in ("one", "two"):
        await visit.state(f"#{name}", "failed")
    direction = "[one, two].map((e) => getComputedStyle(e.shadowRoot.querySelector('[part=message]')).direction)"
    assert await visit.page.evaluate(direction) == ["rtl", "ltr"]


async def test_slots_replace_the_built_in_parts(visit: Visit, images: Images) -> None:
    images.cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
    await images.add("a")
    await visit.open(
        f"""<smart-image id="one" image-id="a" alt="" {SIZE} max-retries="0">
              <b slot="error">Broken</b><button slot="retry">Once more</button>
            </smart-image>"""
    )
    await visit.state("#one", "failed")
    assert await visit.page.get_by_text("Broken").is_visible()
    assert await visit.page.get_by_role("button").count() == 1
    before = len(visit.asked_for("GET"))
    await visit.page.get_by_role("button", name="Once more").click()
    await visit.until("() => log.filter(([, type]) => type === 'error').length === 2")
    assert len(visit.asked_for("GET")) > before


@pytest.mark.parametrize("size", ['width="80" height="60"', 'width="600" height="400"', ""])
async def test_a_missing_picture_in_a_line_of_text_moves_nothing(tab: Tab, size: str) -> None:
    """Neither while it is asked why, nor when its words are there. The element's text is no wider than its spinner."""
    picture = f'<smart-image id="one" image-id="x" alt="A long text that tells what is seen" {size}></smart-image>'
    await tab.open(
        f'<p>A line {picture} <b id="word">of text</b></p>',
        before="""
          const places = window.places = [];
          const look = () => {
            const { left, top } = word.getBoundingClientRect();
            places.push([left, top]);
            requestAnimationFrame(look);
          };
          customElements.whenDefined("smart-image").then(() => requestAnimationFrame(look));
        """,
    )
    await tab.state("one", "failed")
    await tab.until("one.shadowRoot.querySelector('[part=message]').textContent.length > 1")
    await tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    # As browsers count shifts of the layout: from 3 pixels on. Between the failure and its event a browser may
    # draw one frame with its own sign of a broken image, and on a busy machine two.
    for places in zip(*await tab.evaluate("places"), strict=True):
        assert sum(place - min(places) >= 3 for place in places) <= 2


async def test_focus_announcement_print_and_signs_are_right_in_each_browser(
    tab: Tab, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    await images.add("b", png)
    images.cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None, key="objects/b.png"))
    await tab.open(
        f"""<smart-image id="failing" image-id="b" alt="Failing" {SIZE} max-retries="0"></smart-image>
            <smart-image id="small" image-id="x" alt="Small" width="40" height="30"></smart-image>
            <div style="height: 9000px"></div>
            <smart-image id="lazy" image-id="a" alt="Lazy" {SIZE} lazy></smart-image>"""
    )
    await tab.until("document.querySelector('output')?.textContent === '2 pictures could not be loaded.'")
    sign = "getComputedStyle(small.shadowRoot.querySelector('[part=message]'), '::before').content"
    assert "⚠" in await tab.evaluate(sign)
    assert not await tab.evaluate("small.shadowRoot.querySelector('button').checkVisibility()"), "nothing to try again"
    assert await tab.evaluate("lazy.state") == "idle"
    await tab.evaluate("void dispatchEvent(new Event('beforeprint'))")
    await tab.state("lazy", "loaded")

    button = "failing.shadowRoot.querySelector('button')"
    assert await tab.evaluate(f"{button}.ariaLabel") == "Try again: Failing"
    await tab.evaluate(f"void ({button}.focus(), log.length = 0, {button}.click())")
    await tab.until("log.some(([, type]) => type === 'error')")
    assert await tab.evaluate(f"failing.shadowRoot.activeElement === {button}")
    images.cos.faults.clear()
    await tab.evaluate(f"void (Object.assign(failing, {{maxRetries: 20, retryDelay: 200}}), {button}.click())")
    await tab.state("failing", "loaded")
    assert await tab.evaluate("document.activeElement.id") == "failing"
