"""The playground of ``gateway dev`` in a real browser: `Try it`, access by user, each button, managing many images."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Locator, Page, expect

from gateway_dev.database import ImagesTable
from gateway_dev.playground import FAULTS
from gateway_dev.processes import wait_until
from gateway_dev.stack import ADMIN_TOKEN
from tests.test_documents import build_site
from tests.waiting import until
from tests.web.conftest import on_one_loop
from tests.web.test_looks import AXE, SCHEMES

pytestmark = pytest.mark.xdist_group("dev")  # dev prefers fixed ports

PUBLIC = ("sunrise", "badge", "drifting-sun", "vector", "poster-large")
OF_ALICE = ("dunes", "mountain-lake")
SECONDS = 120_000  # ms in which a healed stack shows every image again


@dataclass(frozen=True)
class DevProcess:
    """A running ``gateway dev``, with its output in a file."""

    output: Path

    @property
    def lines(self) -> list[str]:
        return self.output.read_text(encoding="utf-8").splitlines()

    def _address(self, name: str) -> str:
        return next(line.split()[1] for line in self.lines if line.startswith(f"{name} "))

    @property
    def public(self) -> str:
        return self._address("gateway")

    @property
    def cos(self) -> str:
        return self._address("cos")

    @property
    def console(self) -> str:
        return self._address("console")

    def starts(self) -> int:
        """Return how often the gateway has started."""
        return sum("listening: " in line for line in self.lines)


@contextmanager
def dev_process(folder: Path, redis_url: str, postgres_dsn: str, *arguments: str) -> Iterator[DevProcess]:
    """Run ``gateway dev`` on these servers in ``folder``, with its data there."""
    command = [sys.executable, "-m", "gateway", "dev", "--state", str(folder / "state"), *arguments]
    servers = {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": postgres_dsn, "COLUMNS": "200"}
    running = DevProcess(folder / "output")
    with running.output.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **servers}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        assert wait_until(lambda: "Ctrl-C stops everything" in running.output.read_text(encoding="utf-8"), timeout=120)
        yield running
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


@dataclass
class PlaygroundPage:
    """The page, the stack behind it, and the messages of the browser's console."""

    page: Page
    stack: DevProcess
    console: list[str] = field(default_factory=list)

    def tile(self, image_id: str) -> Locator:
        """Return the tile of an image."""
        return self.page.locator(".tile", has=self.page.get_by_role("button", name=image_id, exact=True))

    def badge(self, image_id: str) -> Locator:
        return self.tile(image_id).locator(".badge")

    async def become(self, user: str, way: str = "url") -> None:
        await self.page.select_option("#way", way)
        await self.page.get_by_role("radio", name=user, exact=True).check()

    async def are_loaded(self, *image_ids: str) -> None:
        """Wait until these images are loaded."""
        for image_id in image_ids:
            await expect(self.badge(image_id)).to_have_text("loaded", timeout=SECONDS)

    async def are_shown(self, *image_ids: str) -> bool:
        """Return whether each of these has pixels on the screen now, in any state."""
        pictures = self.page.locator(".tile smart-image img")
        widths: dict[str, int] = await pictures.evaluate_all(
            "(all) => Object.fromEntries(all.map((image) => [image.alt, image.complete ? image.naturalWidth : 0]))"
        )
        return all(widths.get(image_id) for image_id in image_ids)

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def told(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page shows the text."""
        await expect(self.page.locator("#told")).to_contain_text(text, timeout=SECONDS)


@pytest.fixture(scope="module")
def shared_stack(
    redis_url: str, postgres_dsn: str, made_table: ImagesTable, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevProcess]:
    """One development stack with the sample images for all tests, because it starts slowly."""
    made_table.execute("DELETE FROM images")
    folder = tmp_path_factory.mktemp("playground")
    build_site(folder / "site")
    with dev_process(folder, redis_url, postgres_dsn) as running:
        yield running


@on_one_loop()
async def stack(shared_stack: DevProcess) -> AsyncIterator[DevProcess]:
    """The stack, without faults after the test."""
    yield shared_stack
    async with aiohttp.ClientSession(headers={"Origin": shared_stack.public}) as session:
        for name in FAULTS:
            body = {"fault": name, "on": False}
            async with session.post(f"{shared_stack.public}/dev/faults", json=body) as answer:
                assert answer.status == 200


@on_one_loop()
async def open_page(browser: Browser) -> AsyncIterator[Callable[..., Any]]:
    """Opens playgrounds whose spinners do not turn; errors in their consoles fail the test."""
    pages: list[PlaygroundPage] = []

    async def open_(stack: DevProcess, **options: Any) -> PlaygroundPage:
        context = await browser.new_context(
            locale="en-GB", reduced_motion="reduce", **{"viewport": {"width": 1280, "height": 1600}, **options}
        )
        playground = PlaygroundPage(await context.new_page(), stack)
        pages.append(playground)
        playground.page.on("pageerror", lambda error: playground.console.append(str(error)))
        playground.page.on(
            "console", lambda said: playground.console.append(said.text) if said.type == "error" else None
        )
        await playground.page.goto(stack.public + "/")
        return playground

    yield open_
    for opened in pages:
        await opened.page.context.close()
        # The reason of a failed load; a violation of the page's policy reads otherwise.
        assert [said for said in opened.console if not said.startswith("Failed to load resource")] == []


@on_one_loop()
async def playground(open_page: Callable[..., Any], stack: DevProcess) -> PlaygroundPage:
    """The playground with every image loaded that alice may see."""
    opened: PlaygroundPage = await open_page(stack)
    await opened.are_loaded(*PUBLIC, *OF_ALICE)
    return opened


async def test_private_images_are_shown_to_their_owner_alone(playground: PlaygroundPage) -> None:
    for way in ("url", "link"):
        await playground.become("nobody", way)
        for image_id in OF_ALICE:
            await expect(playground.badge(image_id)).to_have_text("hidden")
        await playground.become("alice", way)
        await playground.are_loaded(*PUBLIC, *OF_ALICE)
        await expect(playground.badge("aurora")).to_have_text("hidden")
        source = await playground.tile("dunes").locator("img").evaluate("(image) => image.currentSrc")
        assert ("/i/dunes?kid=" in source) == (way == "link")
        assert ("q-signature=" in source) == (way == "url")
    await expect(playground.tile("aurora")).to_contain_text("bob’s private image")
    await playground.tile("aurora").get_by_role("button", name="See it as bob").click()
    await playground.are_loaded("aurora")
    for image_id in OF_ALICE:
        await expect(playground.badge(image_id)).to_have_text("hidden")
    assert not await playground.are_shown("dunes"), "what alice saw is gone"
    await expect(playground.page.locator("#count")).to_have_text("9 images, 7 shown, 2 hidden")


async def test_the_first_page_of_the_documents_has_a_picture_that_loses_cos_and_comes_back(
    playground: PlaygroundPage,
) -> None:
    page = playground.page
    await page.get_by_role("link", name="Docs").click()
    await page.wait_for_url("**/site/")
    picture, told = page.locator(".film smart-image"), page.locator(".film output")
    state = "(image, state) => image.state === state"
    await until(lambda: picture.evaluate(state, "loaded"), what="the picture in place of the film")
    assert await page.locator(".film picture source[srcset*='film']").count() == 0, "it has taken the film's place"
    await page.evaluate(
        """() => {
             const film = document.querySelector(".film"), told = film.querySelector("output");
             window.seen = [];
             new MutationObserver(() => seen.push([told.textContent, film.querySelector("smart-image").naturalWidth]))
               .observe(told, { childList: true });
           }"""
    )
    await page.get_by_role("button", name="Take COS away").click()
    await expect(told).to_contain_text(re.compile(r"Shown again, [\d.]+ s after"), timeout=SECONDS)
    widths = [width for text, width in await page.evaluate("seen") if re.match(r"Attempt \d failed", text)]
    assert {*widths} == {0}
    assert await picture.evaluate(state, "loaded")
    for name in ("%2e%2e/state/samples/gateway.yaml", "..%2f..%2fx", "missing.html"):
        answer = await page.request.get(f"{playground.stack.public}/site/{name}")
        assert answer.status == 404, name


async def test_expired_urls_are_replaced(playground: PlaygroundPage) -> None:
    journal = f"{playground.stack.cos}/.emulator/journal"
    async with aiohttp.ClientSession() as session:
        await (await session.delete(journal)).read()
        await playground.press("Expire all URLs")
        await playground.told("7 pictures are shown")
        await playground.are_loaded(*PUBLIC, *OF_ALICE)
        async with session.get(journal) as answer:
            seen = await answer.text()
    assert seen.count('"status": 403') >= len(PUBLIC), seen
    assert await playground.are_shown(*PUBLIC, *OF_ALICE)


async def test_images_wait_while_cos_fails_and_come_back(playground: PlaygroundPage) -> None:
    """What breaks is in sight of the button, and the page stays where it is."""
    page = playground.page
    for name, width, height in (("COS answers 503", 1366, 850), ("COS hangs", 390, 844)):
        button = page.get_by_role("button", name=name)
        await page.set_viewport_size({"width": width, "height": height})
        await playground.are_loaded(*PUBLIC, *OF_ALICE)
        await expect(page.locator("#lights .loaded")).to_have_count(7)
        await expect(page.locator("#lights")).to_be_in_viewport(ratio=1)
        await expect(playground.tile("sunrise")).to_be_in_viewport(ratio=1)
        if width > height:
            await expect(playground.tile("aurora")).to_be_in_viewport(ratio=1)
            happened = await page.locator(".happened").bounding_box()
            assert happened is not None
            assert happened["height"] < height / 2, "no empty column"
        await playground.press(name)
        await expect(button).to_be_focused()
        await expect(button).to_have_attribute("aria-pressed", "true")
        await expect(playground.badge("sunrise")).not_to_have_text("loaded")
        assert await playground.are_shown(*PUBLIC), "what is shown stays"
        await playground.press("Start all again")
        await expect(page.get_by_role("button", name="Start all again")).to_be_focused()
        await expect(page.locator("#lights .waiting, #lights .failed").first).to_be_visible()
        await expect(page.locator("#count")).to_have_text(re.compile(r"^9 images, \d shown, .*(waiting|failed)"))
        await expect(playground.badge("sunrise")).to_have_text(re.compile("retrying"), timeout=SECONDS)
        assert not await playground.are_shown("sunrise")
        await expect(page.locator("#log")).to_contain_text("sunrise attempt 1 failed")
        assert await page.evaluate("scrollY") == 0
        await playground.press(name)
        await expect(button).to_have_attribute("aria-pressed", "false")
        await playground.are_loaded(*PUBLIC)
        await playground.told("7 pictures are shown")
    await playground.press("COS hangs")
    await page.reload()
    await expect(page.get_by_role("button", name="COS hangs")).to_have_attribute("aria-pressed", "true")


async def test_a_failing_picture_leads_to_its_cause_in_the_console(playground: PlaygroundPage) -> None:
    await playground.press("COS answers 503")
    await playground.press("Start all again")
    link = playground.tile("sunrise").get_by_role("link", name="why?")
    named = re.search("request=([0-9a-f]{8})", await link.get_attribute("href") or "")
    assert named is not None
    async with playground.page.context.expect_page() as opened:
        await link.click()
    console = await opened.value
    await expect(console.locator("#verdict")).to_contain_text("sunrise: 503 origin_throttled")
    failed = console.locator("#facts section").filter(has=console.get_by_role("heading", name="request", exact=True))
    await expect(failed).to_contain_text(named[1])
    await expect(failed).to_contain_text("origin_throttled")
    await expect(console.locator("#token")).to_have_value(ADMIN_TOKEN)
    assert ADMIN_TOKEN not in console.url


async def test_images_survive_a_restart_of_the_gateway(playground: PlaygroundPage) -> None:
    await playground.page.select_option("#way", "link")
    await playground.are_loaded(*OF_ALICE)
    starts = playground.stack.starts()
    await playground.press("Restart the gateway")
    await playground.told(re.compile("The gateway is (away|back)|7 pictures are shown"))
    assert await playground.are_shown(*PUBLIC, *OF_ALICE)
    await playground.told("7 pictures are shown")
    await playground.are_loaded(*PUBLIC, *OF_ALICE)
    assert playground.stack.starts() == starts + 1
    await expect(playground.page.locator("#log")).to_contain_text("sunrise shown again after")


async def test_images_wait_offline_and_go_on_online(playground: PlaygroundPage) -> None:
    await playground.press("Go offline")
    await expect(playground.badge("sunrise")).to_have_text("offline", timeout=SECONDS)
    assert await playground.are_shown(*PUBLIC)
    await playground.told(re.compile("You are online again|7 pictures are shown"))
    await playground.are_loaded(*PUBLIC)
    assert await playground.page.evaluate("navigator.onLine")
    await playground.page.context.set_offline(True)  # not by the button
    await playground.page.get_by_label("Select sunrise").check()
    await playground.press("Reload")
    await expect(playground.badge("sunrise")).to_have_text("offline")
    await playground.press("Expire all URLs")
    await playground.told("That did not work")
    await playground.page.context.set_offline(False)
    await playground.are_loaded("sunrise")


async def test_filters_choose_among_thumbnails_beside_the_log(playground: PlaygroundPage) -> None:
    await playground.page.set_viewport_size({"width": 1280, "height": 800})
    await playground.tile("aurora").scroll_into_view_if_needed()
    for place in ("#log", "#told", "#expire"):
        await expect(playground.page.locator(place)).to_be_in_viewport(ratio=1)
    poster = playground.tile("poster-large").locator("img")
    assert "style=card&w=320&format=avif&v=" in await poster.evaluate("(image) => image.currentSrc")
    names = playground.page.locator(".tile:visible .name")
    await playground.page.fill("#search", "SUN")
    await expect(names).to_have_text(["sunrise", "drifting-sun", "vector"])  # vector's file is hills+sun.svg
    await playground.page.fill("#search", "")
    await playground.page.select_option("#visibility", "private")
    await expect(names).to_have_text(["dunes", "mountain-lake", "user:bob@v1.2_night", "aurora"])
    await playground.page.select_option("#visibility", "")
    of_bob = ["user:bob@v1.2_night", "aurora"]
    for image_id in of_bob:  # began again when the filter let them through, and would not while they are filtered out
        await expect(playground.badge(image_id)).to_have_text("hidden")
    await playground.page.select_option("#state", "hidden")
    await expect(names).to_have_text(of_bob)
    await playground.page.fill("#search", "zebra")
    await expect(playground.page.locator("#count")).to_have_text("0 images, 0 shown")
    await expect(playground.page.locator("#nothing")).to_contain_text("No image has “zebra” in its id or file.")
    await playground.press("Show all")
    await expect(names).to_have_count(9)
    await expect(playground.page.locator("#nothing")).to_be_hidden()


async def test_many_are_selected_their_urls_refreshed_and_their_links_copied(playground: PlaygroundPage) -> None:
    page, done = playground.page, playground.page.locator("#done")
    await expect(page.locator("#refresh")).to_be_hidden()
    await page.get_by_label("Select all").check()
    await playground.press("Refresh URLs")
    # alice owns sunrise, badge, poster-large, dunes and mountain-lake
    await expect(done).to_have_text("5 new URLs; 4 refused: only the owner may refresh")
    await playground.are_loaded(*PUBLIC, *OF_ALICE)
    await page.get_by_label("Select all").uncheck()
    await page.get_by_label("Select badge").click()
    await page.get_by_label("Select poster-large").click(modifiers=["Shift"])
    selected = page.locator(".tile:has(:checked) .name")
    await expect(selected).to_have_text(["badge", "drifting-sun", "vector", "poster-large"])
    assert await page.get_by_label("Select all").evaluate("(box) => box.indeterminate")
    await page.get_by_label("Select all").check()
    await page.get_by_label("Select all").uncheck()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=playground.stack.public)
    for image_id in ("sunrise", "dunes", "mountain-lake", "aurora"):
        await page.get_by_label(f"Select {image_id}").check()
    calls: list[str] = []
    page.on("request", lambda request: calls.append(request.url) if "/link" in request.url else None)
    await playground.press("Copy links")
    await expect(page.locator("#done")).to_have_text("3 copied; 1 refused: only the owner makes links")
    assert calls == [f"{playground.stack.public}/api/v1/images/links"], "one call for all"
    links = (await page.evaluate("navigator.clipboard.readText()")).split("\n")
    assert links[0] == f"{playground.stack.public}/i/sunrise"
    async with aiohttp.ClientSession() as session:
        for link in links:
            async with session.get(link) as answer:
                assert answer.status == 200


async def test_details_show_what_the_api_says_and_the_keyboard_reaches_everything(playground: PlaygroundPage) -> None:
    page, dialog = playground.page, playground.page.get_by_role("dialog")
    await playground.become("nobody")
    await page.get_by_role("button", name="sunrise").click()
    await expect(dialog.get_by_role("heading", name="sunrise")).to_be_visible()
    for text in ("photos/sunrise.jpg", "image/jpeg", "image-gateway;", "Only the owner is told.", "960 original"):
        await expect(dialog).to_contain_text(text)
    async with page.context.expect_page() as opened:
        await dialog.get_by_role("link", name="original", exact=True).click()
    assert (await opened.value).url == f"{playground.stack.public}/i/sunrise"
    await (await opened.value).close()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await playground.become("alice")
    await playground.are_loaded("dunes")
    await page.get_by_role("button", name="dunes").click()
    await expect(dialog).to_contain_text("refresh_due_at")
    await expect(dialog).to_contain_text("private, max-age")
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_be_hidden()

    names = page.locator(".tile .name")
    await names.nth(0).focus()
    for key, at in (("ArrowRight", 1), ("ArrowLeft", 0), ("End", 8), ("Home", 0), ("ArrowUp", 0)):
        await page.keyboard.press(key)
        await expect(names.nth(at)).to_be_focused()
    columns = await page.locator("#grid").evaluate(
        "(grid) => getComputedStyle(grid).gridTemplateColumns.split(' ').length"
    )
    await page.keyboard.press("ArrowDown")
    await expect(names.nth(columns)).to_be_focused()
    name = await names.nth(columns).text_content()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_role("heading", name=name or "")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(names.nth(columns)).to_be_focused()
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.type("a/b")
    assert await page.input_value("#search") == "a/b"


async def test_axe_finds_nothing(playground: PlaygroundPage) -> None:
    page, dialog = playground.page, playground.page.get_by_role("dialog")
    await page.get_by_label("Select sunrise").check()
    await playground.press("COS answers 503")
    # A picture that was not displayed yet: its failure is seen, above the colour that its metadata tells.
    await page.select_option("#image", "drifting-sun")
    failing = page.locator("#stage smart-image")
    await expect(failing.locator("[part=message]")).to_have_text(re.compile("Trying again|could not be loaded"))
    await expect(page.locator("#measured")).to_contain_text(re.compile("Failed.*unavailable.*Why"))
    ground = "(image) => getComputedStyle(image.shadowRoot.querySelector('[part=overlay]')).backgroundColor"
    assert await failing.evaluate(ground) != "rgba(0, 0, 0, 0)", "the text has a ground of its own"
    # As a script of the page its policy would refuse it.
    await page.evaluate(await asyncio.to_thread(AXE.read_text, encoding="utf-8"))
    found = "axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)]))"
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        assert await page.evaluate(found) == []
        await page.get_by_role("button", name="sunrise").click()
        await expect(dialog).to_contain_text("photos/sunrise.jpg")
        assert await page.evaluate(found) == []
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()


async def test_on_a_telephone_nothing_is_cut_and_every_button_is_seen_above_the_pictures_that_it_breaks(
    open_page: Callable[..., Any], stack: DevProcess
) -> None:
    playground = await open_page(stack, viewport={"width": 390, "height": 740}, is_mobile=True, has_touch=True)
    page = playground.page
    await expect(page.locator(".tile")).to_have_count(9)
    for place in (playground.tile("sunrise"), page.locator("#told"), *await page.locator(".buttons button").all()):
        await expect(place).to_be_in_viewport(ratio=1)
    cut = "(names) => names.filter((name) => name.scrollWidth > name.clientWidth).map((name) => name.textContent)"
    small = """[...document.querySelectorAll("button, select, input")]
                 .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 24)
                 .map((node) => node.outerHTML)"""
    for width in (390, 320):
        await page.set_viewport_size({"width": width, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert await page.evaluate(small) == []
        assert await page.locator(".name").evaluate_all(cut) == []


async def test_try_it_tells_what_a_load_took_and_has_the_code_for_each_framework(playground: PlaygroundPage) -> None:
    page, measured = playground.page, playground.page.locator("#measured")
    await playground.tile("poster-large").locator("smart-image").click()
    await expect(page.locator("#image")).to_have_value("poster-large")
    await page.select_option("#style", "cover")
    await page.select_option("#width", "320")
    await page.select_option("#ratio", "16:9")
    await expect(measured).to_contain_text("320 × 180")
    await expect(page.locator("#code")).to_contain_text('ratio="16:9"')
    await page.select_option("#style", "card")
    await expect(page.locator("#ratio")).to_have_value("")
    await page.select_option("#ratio", "1:1")  # card crops to none
    await expect(page.locator("#style")).to_have_value("cover")
    await page.select_option("#style", "card")
    await page.select_option("#width", "960")
    await page.select_option("#format", "webp")
    await expect(measured).to_contain_text(re.compile(r"From(COS|memory)Bytes\d[\d.]* kB.*960 × 640 webp"))
    await playground.press("Load again")
    await expect(measured).to_contain_text("Frombrowser")
    await playground.press("Bypass cache")
    await expect(measured).to_contain_text("Frommemory")
    await expect(page.locator("#loads li span")).to_have_text(["COS", "browser", "memory"])
    source = await page.locator("#stage img").evaluate("(image) => image.currentSrc")
    assert "/i/poster-large?style=card&w=960&format=webp&v=" in source
    await page.select_option("#mode", "url")
    await expect(measured).to_contain_text("FromCOS itself")
    assert "q-signature=" in await page.locator("#stage img").evaluate("(image) => image.currentSrc")
    await page.select_option("#image", "aurora")
    await expect(measured).to_contain_text(re.compile("^Failed.*not_found"))
    await expect(measured.get_by_role("link")).to_have_attribute(
        "href", re.compile("#image=aurora&user=alice&request=[0-9a-f]+&token=")
    )
    await page.reload()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=playground.stack.public)
    await page.select_option("#image", "dunes")
    await page.select_option("#format", "avif")
    for language, text in (
        ("HTML", '<smart-image image-id="dunes" alt="dunes" style-name="card" widths="640"'),
        ("Vue", 'import { SmartImage } from "@image-gateway/web/vue";'),
        ("React", '<SmartImage imageId="dunes" alt="dunes" styleName="card" widths="640"'),
        ("Nuxt", 'modules: ["@image-gateway/web/nuxt-module"]'),
        ("useImage", 'useImage("dunes", { styleName: "card", width: 640, format: "avif" })'),
    ):
        await page.get_by_role("radio", name=language, exact=True).check()
        await expect(page.locator("#code")).to_contain_text(text)
        await page.click("#copy-code")
        await page.wait_for_function("async (text) => (await navigator.clipboard.readText()).includes(text)", arg=text)


@pytest.fixture
def large_stack(redis_url: str, postgres_dsn: str, tmp_path: Path, png: bytes) -> Iterator[DevProcess]:
    """A development stack with a folder of 125 images."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(125):
        (folder / f"{number:03}.png").write_bytes(png)
    with dev_process(tmp_path, redis_url, postgres_dsn, "--images", str(folder)) as running:
        yield running


async def test_a_large_folder_is_shown_in_parts(open_page: Callable[..., Any], large_stack: DevProcess) -> None:
    playground = await open_page(large_stack)
    names = playground.page.locator(".tile .name")
    await expect(names).to_have_count(120)
    await playground.press("Show more")
    await expect(names).to_have_count(125)
    await expect(names.nth(120)).to_be_focused()
    await expect(playground.page.get_by_role("button", name="Show more")).to_be_hidden()
    await playground.page.fill("#search", "124")
    await playground.are_loaded("124.png")
