"""Two browsers that read the playground through nginx, again and again, and compare the pictures that they show."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from bench.soak.load import Load, Unanswered, Wrong
from bench.soak.stack import Stack
from tests.web.browser import running_chromium
from tests.web.windows import Window, chromium_window, firefox_window, running_firefox

# A fault takes ten seconds, and the component asks again at least every five: the rest is for a busy machine.
_SHOWN_WITHIN = 120.0  # seconds
_COMPARED_WITHIN = 60.0
_PAUSE = 20.0  # seconds between two visits, as for a person who reads
# What the drivers of the browsers raise when a page does not open, or is left before a script has ended.
_BROKEN = (AssertionError, PlaywrightError, TimeoutError)
_OF_A_LINK = {"kid", "exp", "sig", "v"}
# So high that every picture is in it: the others are lazy.
_WIDTH, _HEIGHT = 1280, 2400

# Alice sees her private images by signed links.
_BECOME_ALICE = """(() => {
  const user = document.querySelector("#users input[value=alice]"), way = document.querySelector("#way");
  if (!user) return false;
  way.value = "link";
  for (const type of ["input", "change"]) way.dispatchEvent(new Event(type, { bubbles: true }));
  user.click();
  return true;
})()"""
_WAITING = """(() => [
  ...[...document.querySelectorAll(".tile")]
    .filter(({ dataset }) => !["loaded", "hidden"].includes(dataset.status))
    .map((tile) => `${tile.querySelector(".name").textContent} is ${tile.querySelector(".badge").textContent}`),
  ...(document.querySelectorAll(".tile").length ? [] : ["there are no tiles"]),
])()"""
# [address, bytes, type, digest] of each picture that is shown, as the browser has it, and of an image from the server.
_PICTURES = """(() => {
  const read = async (address, cache) => {
    const answer = await fetch(address, { cache });
    if (answer.status !== 200) throw new Error(`${answer.status} for a picture`);
    const bytes = await answer.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return [address, bytes.byteLength, answer.headers.get("Content-Type"), digest.toHex?.() ??
      [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")];
  };
  const shown = [...document.querySelectorAll(".tile smart-image")].filter(({ state }) => state === "loaded");
  return Promise.all([...shown.map(({ currentSrc }) => read(currentSrc, "default")), read("/i/%s", "no-store")]);
})()"""


@dataclass
class Readers:
    """What pictures are shown, by address and type: ``shown``. A picture has the same bytes in both browsers."""

    stack: Stack
    load: Load
    chance: random.Random
    shown: dict[tuple[str, str], str] = field(default_factory=dict)
    pictures: int = 0

    async def read(self, name: str, window: Window, until: float) -> None:
        """Open the page, compare its pictures and leave it, until a time on the monotonic clock."""
        await window.resize(_WIDTH, _HEIGHT)
        while time.monotonic() < until - _SHOWN_WITHIN:
            await self.load.judged(f"playground in {name}", lambda: self._visit(window))
            with suppress(*_BROKEN):
                await window.open("about:blank")  # the animated picture takes processor time
            await asyncio.sleep(_PAUSE * self.chance.uniform(0.5, 1.5))

    async def _visit(self, window: Window) -> None:
        original = self.chance.choice(sorted(self.stack.originals))
        try:
            await window.open(f"{self.stack.nginx.url}/")
            await self._until_shown(window)
            async with asyncio.timeout(_COMPARED_WITHIN):
                *pictures, whole = await window.evaluate(_PICTURES % original)
        except _BROKEN as error:
            raise Unanswered(f"a browser: {type(error).__name__}") from error
        for address, length, kind, digest in pictures:
            self._compare(address, length, kind, digest)
        if whole[3] != hashlib.sha256(self.stack.originals[original]).hexdigest():
            raise Wrong(f"wrong bytes of {original} in a browser")
        self.load.received += whole[1]

    async def _until_shown(self, window: Window) -> None:
        """Return when every picture is shown. Raises ``Wrong`` if that takes much longer than a fault does."""
        async with asyncio.timeout(_COMPARED_WITHIN):
            while not await window.evaluate(_BECOME_ALICE):  # for ever, if a fault met the script of the page
                await asyncio.sleep(0.5)
        began = time.monotonic()
        async with asyncio.timeout(_SHOWN_WITHIN + _COMPARED_WITHIN):
            while waiting := await window.evaluate(_WAITING):
                now = time.monotonic()
                if now > began + _SHOWN_WITHIN:
                    if self.load.schedule.was_busy(began, now):
                        raise Unanswered("a browser: pictures are not shown")
                    raise Wrong(f"after {_SHOWN_WITHIN:g} s {', '.join(waiting)}, {self.load.schedule.said_at(now)}")
                await asyncio.sleep(0.5)

    def _compare(self, address: str, length: int, kind: str, digest: str) -> None:
        parts = urlsplit(address)
        choice = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] not in _OF_A_LINK])
        known: Any = self.shown.setdefault((f"{parts.path}?{choice}", kind), digest)
        if digest != known:
            raise Wrong(f"{parts.path}?{choice} has other bytes than before in a browser")
        self.pictures += 1
        self.load.received += length


@asynccontextmanager
async def running_windows() -> AsyncIterator[dict[str, Window]]:
    """Run Chromium and Firefox; yield a window of each."""
    async with AsyncExitStack() as stack:
        address = stack.enter_context(running_chromium())
        playwright = await stack.enter_async_context(async_playwright())
        chromium = await playwright.chromium.connect_over_cdp(address)
        firefox = await stack.enter_async_context(running_firefox())
        yield {
            "Chromium": await stack.enter_async_context(chromium_window(chromium)),
            "Firefox": await stack.enter_async_context(firefox_window(firefox)),
        }
