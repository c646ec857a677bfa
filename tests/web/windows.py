"""One interface to Chromium, Firefox and WebKit, which tests of the component's promises use.

Playwright drives Chromium. Firefox speaks WebDriver BiDi itself. WebKit has its own WebDriver, and needs a display.
"""

import json
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from playwright.async_api import Browser, Page

from gateway_dev.processes import Child, free_port
from tests.limits import LIMIT
from tests.waiting import until

WIDTH, HEIGHT = 800, 600

# The other preferences for automation are Firefox's own recommendation, which it applies by itself. Spinners stand
# still: without a graphics card they cost much processor time.
FIREFOX_PREFERENCES = """
user_pref("browser.cache.disk.enable", false);
user_pref("fission.webContentIsolationStrategy", 0);
user_pref("ui.prefersReducedMotion", 1);
"""


class BrowserCrashed(Exception):
    """The browser ended by itself. The test says nothing then, and runs once more (``in_browser``)."""


class Window(Protocol):
    """A window of a browser. It shows one page at a time, at first 800 by 600 pixels large."""

    async def open(self, address: str) -> None:
        """Open a page, and return when the document has been parsed; WebKit returns when the page has been loaded."""

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression as JSON has it; a promise is awaited."""

    async def resize(self, width: int, height: int) -> None:
        """Resize the viewport, as a turned phone does."""


@dataclass
class ChromiumWindow:
    """A page of Playwright."""

    page: Page

    async def open(self, address: str) -> None:
        await self.page.goto(address, wait_until="domcontentloaded")

    async def evaluate(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def resize(self, width: int, height: int) -> None:
        await self.page.set_viewport_size({"width": width, "height": height})


@asynccontextmanager
async def chromium_window(browser: Browser) -> AsyncIterator[Window]:
    """Open a window with a profile of its own."""
    context = await browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB", reduced_motion="reduce"
    )
    yield ChromiumWindow(await context.new_page())
    await context.close()


@dataclass
class Firefox:
    """A connection to Firefox: commands of WebDriver BiDi, one at a time."""

    socket: aiohttp.ClientWebSocketResponse
    last: int = 0

    async def command(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self.last += 1
        await self.socket.send_json({"id": self.last, "method": method, "params": parameters})
        while True:
            answer = await self.socket.receive_json(timeout=2 * LIMIT)
            if answer.get("id") == self.last:
                assert answer["type"] == "success", f"{method}: {answer}"
                return answer["result"]


@dataclass
class FirefoxWindow:
    """A tab of Firefox."""

    firefox: Firefox
    context: str

    async def open(self, address: str) -> None:
        await self.firefox.command("browsingContext.navigate", context=self.context, url=address, wait="interactive")

    async def evaluate(self, expression: str) -> Any:
        answer = await self.firefox.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self.context},
            awaitPromise=True,
        )
        assert answer["type"] == "success", f"{expression}: {answer['exceptionDetails']['text']}"
        return json.loads(answer["result"].get("value", "null"))

    async def resize(self, width: int, height: int) -> None:
        viewport = {"width": width, "height": height}
        await self.firefox.command("browsingContext.setViewport", context=self.context, viewport=viewport)


@asynccontextmanager
async def running_firefox() -> AsyncIterator[Firefox]:
    """Run a headless Firefox with a temporary profile, and connect to it."""
    path = firefox_path()
    assert path is not None, "Firefox is not installed: apt-get install firefox-esr"
    with temporary_folder() as folder:
        (folder / "user.js").write_text(FIREFOX_PREFERENCES)
        options = ("--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port=0")
        with running(path, *options, folder=folder) as program:
            address = await program.says(r"WebDriver BiDi listening on (ws://\S+)")
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/session") as socket:
                firefox = Firefox(socket)
                await firefox.command("session.new", capabilities={})
                yield firefox


@asynccontextmanager
async def firefox_window(firefox: Firefox) -> AsyncIterator[Window]:
    """Open a tab with cookies and caches of its own."""
    user = (await firefox.command("browser.createUserContext"))["userContext"]
    context = (await firefox.command("browsingContext.create", type="tab", userContext=user))["context"]
    window = FirefoxWindow(firefox, context)
    await window.resize(WIDTH, HEIGHT)
    yield window
    await firefox.command("browser.removeUserContext", userContext=user)


@dataclass
class WebKit:
    """WebKitWebDriver, and the path of its session. ``options``: how it starts the browser."""

    session: aiohttp.ClientSession
    path: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    async def command(self, method: str, path: str, **parameters: Any) -> Any:
        """Send a command and return its value."""
        body = parameters if method == "POST" else None
        async with self.session.request(method, self.path + path, json=body) as answer:
            value = (await answer.json())["value"]
            if not answer.ok and value["error"] in ("unknown error", "invalid session id"):  # not those of a script
                raise BrowserCrashed(f"{path}: {value}")
            assert answer.ok, f"{path}: {value}"
            return value

    async def is_ready(self) -> bool:
        """Whether WebKitWebDriver answers."""
        try:
            return bool(await self.command("GET", "/status"))
        except aiohttp.ClientConnectionError:
            return False


@dataclass
class WebKitWindow:
    """The window of MiniBrowser. Its height includes the bars."""

    webkit: WebKit

    async def open(self, address: str) -> None:
        await self.webkit.command("POST", "/url", url=address)

    async def evaluate(self, expression: str) -> Any:
        script = f"return (async () => JSON.stringify(await ({expression})))()"
        return json.loads(await self.webkit.command("POST", "/execute/sync", script=script, args=[]) or "null")

    async def resize(self, width: int, height: int) -> None:
        await self.webkit.command("POST", "/window/rect", width=width, height=height)
        await until(partial(self.evaluate, f"innerWidth === {width}"))


@asynccontextmanager
async def running_webkit() -> AsyncIterator[WebKit]:
    """Run WebKitWebDriver on a display without a screen."""
    browser, driver, xvfb = mini_browser_path(), shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    if browser is None or driver is None or xvfb is None:
        raise AssertionError("WebKit is not installed: apt-get install webkit2gtk-driver xvfb")
    screen = ("-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp")
    with temporary_folder() as folder, running(xvfb, *screen, folder=folder) as display:
        number, port = await display.says(r"^(\d+)$"), free_port()
        with running(driver, f"--port={port}", folder=folder, variables=(f"DISPLAY=:{number}",)):
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                webkit = WebKit(session)
                await until(webkit.is_ready)
                webkit.options = {"binary": browser, "args": ["--automation"]}
                yield webkit


@asynccontextmanager
async def webkit_window(webkit: WebKit) -> AsyncIterator[Window]:
    """Start MiniBrowser for its one window.

    Each test has its own: a crash of WebKit's network process (libsoup 3.6) is that of one test.
    """
    capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": webkit.options}}
    made = await webkit.command("POST", "/session", capabilities=capabilities)
    webkit = replace(webkit, path=f"/session/{made['sessionId']}")
    try:
        await webkit.command("POST", "/timeouts", script=int(2 * LIMIT * 1000), pageLoad=int(LIMIT * 1000))
        window = WebKitWindow(webkit)
        await window.resize(WIDTH, HEIGHT)
        yield window
    finally:
        await webkit.command("DELETE", "")


def firefox_path() -> str | None:
    """Return the path of Firefox, or None if it is not installed."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


def mini_browser_path() -> str | None:
    """Return the path of WebKit's small browser, or None if it is not installed."""
    found = (
        *Path("/usr/lib").glob("*/webkit2gtk-*/MiniBrowser"),
        *Path("/usr/libexec").glob("webkit2gtk-*/MiniBrowser"),
    )
    return str(found[-1]) if found else None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """The home of a browser."""
    with tempfile.TemporaryDirectory(prefix="image-gateway-browser-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@dataclass
class Program:
    """A running program, and the file with its output."""

    child: Child
    log: Path

    async def says(self, pattern: str) -> str:
        """Wait until the output matches; return the first group."""

        def found() -> "re.Match[str] | None":
            assert self.child.exit_code is None, self.log.read_text()
            return re.search(pattern, self.log.read_text(), re.MULTILINE)

        await until(found, what=pattern)
        match = found()
        assert match is not None
        return match[1]


@contextmanager
def running(path: str, *options: str, folder: Path, variables: tuple[str, ...] = ()) -> Iterator[Program]:
    """Run a program whose home is the folder, with these variables of the environment."""
    log = folder / f"{Path(path).name}.log"
    command = ("/usr/bin/env", f"HOME={folder}", "LC_ALL=C.UTF-8", *variables, path, *options)
    child = Child(command, log=log)
    try:
        yield Program(child, log)
    finally:
        child.signal(signal.SIGTERM)
        if not child.wait(LIMIT):
            child.kill()
