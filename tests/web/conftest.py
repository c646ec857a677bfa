"""Pages in a real Chromium, with images from a real gateway."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis
from PIL import Image
from playwright.async_api import Browser, Page, Route, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.conftest import RunningGateway, StartGateway, running_cos, starting_gateways
from tests.limits import LIMIT
from tests.ports import reserved_port
from tests.web.browser import Site, running_chromium, running_site
from tests.web.front import Front, running_front
from tests.web.windows import (
    BrowserCrashed,
    Window,
    chromium_window,
    firefox_window,
    running_firefox,
    running_webkit,
    webkit_window,
)

# Without retries and memory cache, which would hide faults from the page.
PASS_ON = {"image_proxy": {"retry_count": 0, "memory_cache": {"max_bytes": 0}}}

expect.set_options(timeout=LIMIT * 1000)  # milliseconds

# All tests and fixtures of this folder share one event loop, so that they can share the connection to the browser.
on_one_loop = partial(pytest_asyncio.fixture, loop_scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder on the loop of their fixtures."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def png() -> bytes:
    """An image of 80 by 60 pixels."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((80, 60)).convert("RGB").save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def own_port() -> Iterator[int]:
    """A port for a gateway that stops and starts again."""
    with reserved_port() as port:
        yield port


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """One Chromium for all tests, because it starts slowly."""
    with running_chromium() as address:
        yield address


@on_one_loop(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One connection to Chromium: Playwright starts a program for it."""
    async with async_playwright() as playwright:
        yield await playwright.chromium.connect_over_cdp(chromium)


@on_one_loop()
async def cos() -> AsyncIterator[CosEmulator]:
    """The COS emulator with one empty bucket."""
    async with running_cos() as emulator:
        yield emulator


@on_one_loop()
async def start_gateway(
    raw_settings: dict[str, dict[str, Any]], images_table: ImagesTable, redis_client: "redis.Redis"
) -> AsyncIterator[StartGateway]:
    """Starts gateways that end with the test."""
    async with starting_gateways(raw_settings) as start:
        yield start


@on_one_loop()
async def site() -> AsyncIterator[Site]:
    """The site of the pages; its origin is not the gateway's."""
    async with running_site() as site:
        yield site


# The events do not bubble: they are heard in the capture phase.
LOG = """
  window.log = [];
  window.problems = [];
  for (const type of ["load", "error", "retry", "recover", "statechange"])
    document.addEventListener(type, (event) => {
      const {target, detail} = event;
      if (target.localName === "smart-image") log.push([target.id, type, detail ?? null]);
    }, true);
  addEventListener("error", ({message}) => message && problems.push(message));
  addEventListener("unhandledrejection", ({reason}) => problems.push(String(reason)));
"""


def body_with(base: str, body: str, script: str) -> str:
    """Return the body of a page that logs the events, and loads the component from ``base`` for its ``script``."""
    setup = f"""
      import * as smart from "{base}/static/smart-image.js";
      const {{configureSmartImage, imageProxy}} = smart;
      Object.assign(window, smart);
      {script}
    """
    return f"<script>{LOG}</script>{body}<script type=module>{setup}</script>"


def types_of(log: list[list[Any]], element_id: str) -> list[str]:
    """Return the types of an element's events without statechange."""
    return [type_ for id_, type_, _ in log if id_ == element_id and type_ != "statechange"]


@dataclass
class Visit:
    """A page with the component, its requests and its console errors."""

    page: Page
    site: Site
    gateway: RunningGateway
    asked: list[str] = field(default_factory=list)
    console_errors: list[str] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self, addresses: str) -> None:
        """Never answer requests for these addresses."""

        async def wait(route: Route) -> None:
            await self.closing.wait()
            await route.abort()

        await self.page.route(addresses, wait)

    async def open(self, body: str, *, script: str = "", headers: dict[str, str] | None = None) -> None:
        """Open a page with ``body``; ``script`` runs in the module that imports the component."""
        page = body_with(self.gateway.ports.public, body, script)
        await self.page.goto(self.site.put("/", page, headers=headers), wait_until="domcontentloaded")

    async def state(self, selector: str, state: str, *, seconds: float = LIMIT) -> None:
        """Wait until the element is in that state."""
        await self.until(
            "([selector, state]) => document.querySelector(selector)?.state === state", [selector, state], seconds
        )

    async def all_loaded(self, count: int, *, seconds: float = LIMIT) -> None:
        """Wait until ``count`` elements display their images."""
        await self.until(
            """(count) => [...document.querySelectorAll("smart-image")]
                 .filter((image) => image.state === "loaded" && image.naturalWidth > 0).length === count""",
            count,
            seconds,
        )

    async def until(self, expression: str, argument: Any = None, seconds: float = LIMIT) -> None:
        """Wait until the JavaScript expression is true; on failure show the events, errors and requests."""
        try:
            await self.page.wait_for_function(expression, arg=argument, timeout=seconds * 1000)
        except PlaywrightTimeout:
            told = await self.page.evaluate("log.slice(-20)")
            raise AssertionError(f"{argument} did not come: {told} {self.console_errors} {self.asked[-20:]}") from None

    async def events(self, element_id: str) -> list[Any]:
        """Return the events of an element: type and detail."""
        told: list[list[Any]] = await self.page.evaluate("log")
        return [entry[1:] for entry in told if entry[0] == element_id]

    async def types(self, element_id: str) -> list[str]:
        """Return the event types without statechange."""
        return types_of(await self.page.evaluate("log"), element_id)

    def asked_for(self, text: str) -> list[str]:
        """Return the requests (``METHOD address``) that contain ``text``."""
        return [entry for entry in self.asked if text in entry]


@on_one_loop()
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that hides no faults of COS."""
    return await start_gateway(**PASS_ON)


@on_one_loop()
async def visit(browser: Browser, site: Site, gateway: RunningGateway) -> AsyncIterator[Visit]:
    """A new page. Unexpected errors in its console fail the test.

    Its spinners do not turn: without a graphics card, two hundred cost more processor time than the rest of their test.
    """
    context = await browser.new_context(viewport={"width": 800, "height": 600}, locale="en-GB", reduced_motion="reduce")
    page = await context.new_page()
    visit = Visit(page, site, gateway)
    page.on("request", lambda request: visit.asked.append(f"{request.method} {request.url}"))
    page.on("pageerror", lambda error: visit.console_errors.append(str(error)))
    page.on("console", lambda message: visit.console_errors.append(message.text) if message.type == "error" else None)
    yield visit
    visit.closing.set()
    await page.unroute_all(behavior="wait")
    await context.close()
    surprises = [line for line in visit.console_errors if not line.startswith("Failed to load resource")]
    assert not surprises


def in_browser(name: str) -> Any:
    """One browser as a parameter, with the mark by which make leaves it out. One process runs its tests.

    A test whose browser crashed runs again: its network process does so now and then (libsoup 3.6).
    """
    again = pytest.mark.flaky(reruns=2, only_rerun=[BrowserCrashed.__name__])
    return pytest.param(name, marks=[getattr(pytest.mark, name), pytest.mark.xdist_group(name), again])


OpenWindow = Callable[[], AbstractAsyncContextManager[Window]]


@on_one_loop(scope="session", params=[in_browser(name) for name in ("chromium", "firefox", "webkit")])
async def open_window(request: pytest.FixtureRequest) -> AsyncIterator[OpenWindow]:
    """Opens windows of one browser, which runs once for all its tests."""
    if request.param == "firefox":
        async with running_firefox() as firefox:
            yield partial(firefox_window, firefox)
    elif request.param == "webkit":
        async with running_webkit() as webkit:
            yield partial(webkit_window, webkit)
    else:
        address = request.getfixturevalue("chromium")
        async with async_playwright() as playwright:
            yield partial(chromium_window, await playwright.chromium.connect_over_cdp(address))


@dataclass
class Tab:
    """A page with the component in any of the browsers, and the front between it and the gateway."""

    window: Window
    site: Site
    front: Front
    gateway: RunningGateway
    opened: int = 0

    async def open(self, body: str, *, script: str = "", before: str = "", is_own_origin: bool = False) -> None:
        """Open a page with ``body``.

        ``script`` runs in the module that imports the component, ``before`` earlier. The page is of another origin than
        the gateway unless ``is_own_origin``.
        """
        page = f"<script>{before}</script>" + body_with(self.front.url, body, script)
        self.opened += 1
        await self.window.open((self.front if is_own_origin else self.site).put(f"/page{self.opened}", page))

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return await self.window.evaluate(expression)

    async def until(self, expression: str, *, seconds: float = LIMIT) -> None:
        """Wait until the JavaScript expression is true; on failure show events, errors and requests."""
        # The page itself polls. Date may be another one there.
        came = await self.evaluate(
            f"""(async () => {{
                  const end = performance.now() + {seconds * 1000};
                  while (!({expression})) {{
                    if (performance.now() > end) return false;
                    await new Promise((done) => setTimeout(done, 20));
                  }}
                  return true;
                }})()"""
        )
        told = await self.evaluate("[log.slice(-20), problems]") if not came else None
        assert came, f"{expression} did not come: {told} {self.front.seen[-20:]}"

    async def state(self, element_id: str, state: str, *, seconds: float = LIMIT) -> None:
        """Wait until the element is in that state."""
        await self.until(f"document.getElementById('{element_id}')?.state === '{state}'", seconds=seconds)

    async def types(self, element_id: str) -> list[str]:
        """Return the event types without statechange."""
        return types_of(await self.evaluate("log"), element_id)


@on_one_loop()
async def tab(open_window: OpenWindow, site: Site, gateway: RunningGateway) -> AsyncIterator[Tab]:
    """A new page in each of the browsers. Errors of its scripts fail the test."""
    async with running_front(gateway.ports.public) as front, open_window() as window:
        tab = Tab(window, site, front, gateway)
        yield tab
        assert await tab.evaluate("window.problems ?? []") == []
