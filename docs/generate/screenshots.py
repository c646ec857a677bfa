"""``python -m docs.generate.screenshots``: the README's pictures of the playground and the console, light and dark.

Chromium takes them from a running ``image-gateway dev`` with a minute of traffic and an outage of COS. A picture
contains the digest of its sources, and is taken again only if they have changed, or if it was removed. Take them on a
machine without other load: a slow one shows the outage at the edge of the charts.
"""

import asyncio
import hashlib
import io
import math
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
from PIL import Image
from playwright.async_api import Browser, FloatRect, Locator, Page, async_playwright, expect

from docs.generate.documents import DOCUMENTS, ROOT
from gateway_dev.stack import ADMIN_TOKEN, token_for

FOLDER: Final = ROOT / "docs" / "assets"
SCHEMES: Final = ("light", "dark")
# Of each there is a light and a dark picture.
NAMES: Final = ("playground", "console", "console.zh-CN")
MOST_BYTES: Final = 100_000
_DESCRIPTION: Final = 0x010E  # the tag ImageDescription of Exif
_WINDOW: Final = {"width": 1256, "height": 1080}
_MARGIN: Final = 8  # below the last element
_SCALE: Final = 1.25
_QUALITIES: Final = range(60, 20, -5)  # the first that fits

_BEFORE, _OUTAGE, _AFTER = 30, 7, 15  # seconds of traffic: the charts of the last minute have all of it
_WIDTHS: Final = (320, 640, 960)
_FORMATS: Final = ("avif", "webp")
_PUBLIC: Final = ("sunrise", "drifting-sun", "poster-large", "badge")
SHOWN: Final = 7  # pictures that alice sees
_CHARTS, _CHARTS_SHOWN = 8, 6
_PATIENCE: Final = 120_000  # ms


def digest() -> str:
    """Return the digest of what the pictures are made of."""
    sources = [ROOT / "gateway_dev" / "samples.py"]
    for folder in ("gateway_dev/web", "gateway/web/brand", "gateway/web/console"):
        sources += sorted((ROOT / folder).iterdir())
    return hashlib.sha256(
        b"".join(
            source.read_bytes()
            for source in sources
            if source.is_file() and str(source.relative_to(ROOT)) not in DOCUMENTS
        )
    ).hexdigest()


def path_of(name: str, scheme: str) -> Path:
    """Return the file of a picture."""
    return FOLDER / f"{name}-{scheme}.webp"


def digest_in(path: Path) -> str | None:
    """Return the digest of the sources that a picture was made of, None without a picture."""
    if not path.exists():
        return None
    with Image.open(path) as picture:
        return picture.getexif().get(_DESCRIPTION)


# The commands of `dev` name a folder of this machine; those of a server do not.
_AS_ON_A_SERVER: Final = r"""() => {
  for (const code of document.querySelectorAll("code")) {
    code.textContent = code.textContent.replace(/\S+ -m gateway (\S+) --config \S+/, "image-gateway-admin $1");
  }
}"""


async def take(chromium: str) -> dict[Path, bytes]:
    """Return all pictures as PNG, by their files."""
    shots: dict[Path, bytes] = {}
    async with running_stack() as addresses, async_playwright() as playwright:
        public, admin = addresses
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        traffic = asyncio.create_task(_traffic(public), name="traffic")
        try:
            playground = await _page(browser, public, "en-GB")
            await expect(playground.locator('[data-status="loaded"]')).to_have_count(SHOWN, timeout=_PATIENCE)
            await asyncio.sleep(_BEFORE)
            await _break_and_heal(playground)
            locales = {"console": "en-GB", "console.zh-CN": "zh-CN"}
            consoles = {name: await _page(browser, admin, locale) for name, locale in locales.items()}
            await asyncio.sleep(_AFTER)
            for name, console in consoles.items():
                await console.select_option("#window", "60")
                charts = console.locator("#charts figure")
                await expect(charts).to_have_count(_CHARTS, timeout=_PATIENCE)
                shots |= await _shots(console, name, charts.nth(_CHARTS_SHOWN - 1))
            shots |= await _shots(playground, "playground", playground.locator("#grid"))
        finally:
            traffic.cancel()
            with suppress(asyncio.CancelledError):
                await traffic
        await browser.close()
    return shots


async def _page(browser: Browser, address: str, locale: str) -> Page:
    context = await browser.new_context(
        viewport={"width": _WINDOW["width"], "height": _WINDOW["height"]},
        device_scale_factor=_SCALE,
        locale=locale,
        timezone_id="Asia/Shanghai",
    )
    page = await context.new_page()
    await page.add_init_script(f"sessionStorage.setItem('token', '{ADMIN_TOKEN}')")
    await page.goto(address)
    return page


async def _break_and_heal(page: Page) -> None:
    """Let COS refuse everything while the images are loaded anew, until all are shown again."""
    fault = page.get_by_role("button", name="COS answers 503")
    await fault.click()
    await expect(fault).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="Start all again").click()
    await asyncio.sleep(_OUTAGE)
    await fault.click()
    await expect(page.locator("#told")).to_contain_text(f"{SHOWN} pictures are shown", timeout=_PATIENCE)


async def _shots(page: Page, name: str, last: Locator) -> dict[Path, bytes]:
    """Return the page in both schemes, down to the lower edge of ``last``."""
    await page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")
    shots = {}
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        await page.wait_for_timeout(500)  # the charts are drawn again
        await page.evaluate(_AS_ON_A_SERVER)
        box = await last.bounding_box()
        assert box is not None  # noqa: S101 - it is visible
        height = round(box["y"] + box["height"]) + _MARGIN
        shown: FloatRect = {"x": 0, "y": 0, "width": _WINDOW["width"], "height": height}
        shots[path_of(name, scheme)] = await page.screenshot(clip=shown)
    return shots


def tagged(sources: str) -> Image.Exif:
    """Return metadata with the digest of a picture's sources."""
    exif = Image.Exif()
    exif[_DESCRIPTION] = sources
    return exif


def save(path: Path, shot: bytes, sources: str) -> None:
    """Write a picture with the digest of its sources, as good as its size allows."""
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    exif = tagged(sources)
    for quality in _QUALITIES:
        picture.save(path, "WEBP", quality=quality, method=6, exif=exif)
        if path.stat().st_size < MOST_BYTES:
            break
    sys.stdout.write(f"{path.relative_to(ROOT)}\n")


async def _traffic(public: str) -> None:
    """Request images as pages and applications do, in waves, the same ones each time."""
    chance = random.Random(1)  # noqa: S311 - no secret
    owner = {"Authorization": f"Bearer {token_for('alice')}"}
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as running:

        async def get(address: str, **headers: str) -> None:
            with suppress(aiohttp.ClientError):
                async with session.get(address, headers=headers) as answer:
                    await answer.read()

        for step in range(1_000_000):
            for _ in range(round(3 + 2 * math.sin(step / 14)) + chance.randrange(3)):
                width, form = chance.choice(_WIDTHS), chance.choice(_FORMATS)
                running.create_task(
                    get(f"{public}/i/{chance.choice(_PUBLIC)}?style=card&w={width}&format={form}"), name="visitor"
                )
            if step % 3 == 0:
                running.create_task(get(f"{public}/i/dunes", **owner), name="owner")
                running.create_task(get(f"{public}/api/v1/images/mountain-lake/url", **owner), name="application")
            if step % 40 == 0:
                running.create_task(get(f"{public}/i/aurora"), name="stranger")
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running_stack() -> AsyncIterator[tuple[str, str]]:
    """Run ``image-gateway dev`` with new data; yields the addresses of both ports."""
    with tempfile.TemporaryDirectory(prefix="image-gateway-pictures-") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            "dev",
            "--state",
            folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        addresses: dict[str, str] = {}
        async for line in process.stdout:
            name, _, rest = line.decode().partition(" ")
            addresses.setdefault(name, rest.split()[0] if rest.strip() else "")
            if line.startswith(b"Ctrl-C"):
                break
        reading = asyncio.create_task(process.stdout.read(), name="output of dev")
        try:
            yield addresses["gateway"], addresses["console"].rstrip("/")
        finally:
            process.terminate()
            await process.wait()
            await reading


def main() -> None:
    """Take the pictures if their sources have changed and Chromium is installed."""
    wanted = digest()
    if all(digest_in(path_of(name, scheme)) == wanted for name in NAMES for scheme in SCHEMES):
        return
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.stdout.write("Chromium was not found: the pictures of the README stay as they are\n")
        return
    for path, shot in asyncio.run(take(chromium)).items():
        save(path, shot, wanted)


if __name__ == "__main__":
    main()
