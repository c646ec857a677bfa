"""Bytes, layout shift (CLS) and largest contentful paint (LCP) of one page, as each library for images writes it.

    python -m bench.pages --rounds 5

A phone with a slow network opens the page in Chromium with an empty cache, from a gateway with an emulator of COS. The
libraries are measured in turn. ``make bench`` does it after the other comparisons, if Chromium is installed.
"""

import argparse
import asyncio
import hashlib
import io
import shutil
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from PIL import Image
from playwright.async_api import Browser, async_playwright

from bench.databases import BUCKET, running_databases, write_configuration
from bench.page_markup import FORMATS, MARKUPS, STYLE, Picture, page
from bench.processes import SERVER_CORE, pinned
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.database import ImageRow
from gateway_dev.processes import free_port

MODE: Final = "pages"
PICTURES: Final = (Picture("hero", 640, 427, hero=True), *(Picture(f"card-{n}", 320, 213) for n in range(12)))
_PHONE: Final[dict[str, Any]] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
# "Slow 4G" of Lighthouse
_NETWORK: Final = {"offline": False, "latency": 150, "downloadThroughput": 204_800, "uploadThroughput": 93_750}
_PHOTO: Final = (1920, 1280)
_OBSERVE: Final = """
  window.seen = {shift: 0, paint: 0};
  const observe = (type, found) => new PerformanceObserver((list) => list.getEntries().forEach(found))
    .observe({type, buffered: true});
  observe("layout-shift", ({value, hadRecentInput}) => { if (!hadRecentInput) seen.shift += value; });
  observe("largest-contentful-paint", ({startTime}) => { seen.paint = startTime; });
"""


@dataclass(frozen=True)
class View:
    """What a page cost: bytes of all its requests, its layout shift, and milliseconds to its largest paint."""

    size: int
    shift: float
    paint: float


def chromium() -> str | None:
    """Return the path of Chromium, or None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def table(found: dict[str, list[View]]) -> str:
    """Return the medians as a Markdown table."""
    lines = ["| one page | bytes | CLS | LCP, ms |", "| --- | ---: | ---: | ---: |"]
    for name, views in found.items():
        size, shift, paint = (
            statistics.median(getattr(view, part) for view in views) for part in ("size", "shift", "paint")
        )
        lines.append(f"| {name} | {size:,.0f} | {shift:.3f} | {paint:,.0f} |")
    return "\n".join(lines)


async def measure(rounds: int) -> dict[str, list[View]]:
    """Return the views of each round, by the name of the library."""
    found: dict[str, list[View]] = {markup.name: [] for markup in MARKUPS}
    async with _running_site() as site, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-background-networking"]
        )
        for number in range(rounds + 1):  # the first one makes the pictures, and is not counted
            print(f"pages, round {number} of {rounds}", file=sys.stderr)
            for index, markup in enumerate(MARKUPS):
                view = await _viewed(browser, f"{site}/{index}")
                if number:
                    found[markup.name].append(view)
        await browser.close()
    return found


async def _viewed(browser: Browser, address: str) -> View:
    context = await browser.new_context(**_PHONE)
    tab = await context.new_page()
    devtools = await context.new_cdp_session(tab)
    await devtools.send("Network.enable")
    await devtools.send("Network.emulateNetworkConditions", _NETWORK)
    sizes: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await tab.add_init_script(_OBSERVE)
    await tab.goto(address, wait_until="load", timeout=120_000)
    await tab.wait_for_load_state("networkidle", timeout=120_000)
    seen = await tab.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(seen))))")
    await context.close()
    return View(int(sum(sizes)), seen["shift"], seen["paint"])


@asynccontextmanager
async def _running_site() -> AsyncIterator[str]:
    """Run a gateway, and a site of the pages on another origin; yield the address of the site."""
    store = ObjectStore()
    for picture in PICTURES:
        store.put(BUCKET, f"{picture.image_id}.jpg", _photo(picture.image_id), content_type="image/jpeg")
    rows = [ImageRow(picture.image_id, None, f"{picture.image_id}.jpg", public=True) for picture in PICTURES]
    with (
        tempfile.TemporaryDirectory(prefix="image-gateway-bench-") as name,
        running_databases(Path(name), rows) as data,
    ):
        async with CosEmulator(store, {"id": Credential("key")}, port=free_port(), default_bucket=BUCKET) as cos:
            public, admin = free_port(), free_port()
            sections = data.sections(f"127.0.0.1:{cos.port}") | {
                "server": {"host": "127.0.0.1", "port": public},
                "admin": {"port": admin},
                "image_styles": {STYLE: {"formats": list(FORMATS), "quality": {"avif": 50, "webp": 75}}},
                "image_variants": {"placeholders": True},
                "image_proxy": {"timeout": 120},
                "logging": {"level": "warning"},
            }
            path = write_configuration(Path(name) / "pages.yaml", sections)
            base = f"http://127.0.0.1:{public}"
            command = (sys.executable, "-m", "gateway", "serve", "--config", str(path))
            with pinned(SERVER_CORE, *command, ready=f"{base}/healthz"):
                async with _serving(await _pages(base)) as site:
                    yield site


async def _pages(base: str) -> Sequence[str]:
    asked = {"image_ids": [picture.image_id for picture in PICTURES], "include": ["meta"]}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/static/config.json") as answer:
            config = await answer.text()
        async with session.post(f"{base}/api/v1/images/urls", json=asked) as answer:
            urls = (await answer.json())["data"]["urls"]
    pictures = [replace(picture, placeholder=urls[picture.image_id]["meta"]["placeholder"]) for picture in PICTURES]
    return [page(markup, base, config, pictures) for markup in MARKUPS]


@asynccontextmanager
async def _serving(pages: Sequence[str]) -> AsyncIterator[str]:
    async def show(request: web.Request) -> web.Response:
        return web.Response(text=pages[int(request.match_info["number"])], content_type="text/html")

    app = web.Application()
    app.router.add_get("/{number:[0-9]+}", show)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _photo(seed: str) -> bytes:
    """Return a JPEG with colours, shapes of all sizes, and grain, always the same for a seed."""
    picture = Image.new("RGB", _PHOTO, "#808080")
    for columns in (6, 24, 96, 384):  # like a photo, it has as much detail in any size
        rows = columns * 2 // 3
        spots = Image.frombytes("RGB", (columns, rows), _noise(f"{seed}{columns}", 3 * columns * rows))
        picture = Image.blend(picture, spots.resize(_PHOTO, Image.Resampling.BICUBIC), 0.3)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def _noise(seed: str, length: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(length)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if chromium() is None:
        sys.exit("the pages need Chromium: apt-get install chromium")
    print(table(asyncio.run(measure(options.rounds))))


if __name__ == "__main__":
    main()
