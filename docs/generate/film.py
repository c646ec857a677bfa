"""``python -m docs.generate.film``: the film of the site's first page: pictures lose COS, and come back.

Chromium records the playground of a running ``image-gateway dev``. Each film ends after six seconds; its last frame is
shown to readers who want no motion. As of the README's pictures, a film has the digest of its sources.
"""

import asyncio
import io
import shutil
import time
from itertools import pairwise
from typing import Final

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

from docs.generate.screenshots import SCHEMES, SHOWN, digest, digest_in, path_of, running_stack, tagged

NAME: Final = "film"
STILL: Final = "film-still"
MOST_BYTES: Final = 600_000
SECONDS: Final = 6.0
_WINDOW: Final = {"width": 1120, "height": 640}
_BROKEN: Final = 2.5  # seconds without COS
_AFTER: Final = 0.8  # seconds that all pictures are shown at the end
_PAUSE: Final = 0.1  # between two frames, seconds
_TIMES: Final = 3  # that it is played
_QUALITY: Final = 45

Frames = list[tuple[float, bytes]]


async def record(chromium: str) -> dict[str, Frames]:
    """Return the frames by scheme, each with the time when it was taken."""
    films: dict[str, Frames] = {}
    async with running_stack() as (public, _), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for scheme in SCHEMES:
            films[scheme] = await _film(browser, public, scheme)
        await browser.close()
    return films


async def _film(browser: Browser, public: str, scheme: str) -> Frames:
    context = await browser.new_context(
        viewport={"width": _WINDOW["width"], "height": _WINDOW["height"]},
        color_scheme="light" if scheme == "light" else "dark",
        locale="en-GB",
    )
    page = await context.new_page()
    await page.goto(public)
    await expect(page.locator('[data-status="loaded"]')).to_have_count(SHOWN)
    frames: Frames = []
    camera = asyncio.create_task(_take(page, frames), name="camera")
    fault = page.get_by_role("button", name="COS answers 503")
    await asyncio.sleep(_AFTER)
    await fault.click()
    await page.get_by_role("button", name="Start all again").click()
    await asyncio.sleep(_BROKEN)
    await fault.click()
    await expect(page.locator('[data-status="loaded"]')).to_have_count(SHOWN, timeout=60_000)
    await asyncio.sleep(_AFTER)
    camera.cancel()
    await asyncio.gather(camera, return_exceptions=True)
    await context.close()
    return frames


async def _take(page: Page, frames: Frames) -> None:
    while True:
        frames.append((time.monotonic(), await page.screenshot()))
        await asyncio.sleep(_PAUSE)


def save(scheme: str, frames: Frames, sources: str) -> None:
    """Write the film, in which the time between frames is stretched to six seconds, and its last frame."""
    pictures = [Image.open(io.BytesIO(shot)).convert("RGB") for _, shot in frames]
    length = frames[-1][0] - frames[0][0]
    times = [1000 * SECONDS * (later - earlier) / length for (earlier, _), (later, _) in pairwise(frames)]
    exif = tagged(sources)
    pictures[0].save(
        path_of(NAME, scheme),
        "WEBP",
        save_all=True,
        append_images=pictures[1:-1],
        duration=[round(pause) for pause in times],
        loop=_TIMES,
        quality=_QUALITY,
        method=4,
        exif=exif,
    )
    pictures[-1].save(path_of(STILL, scheme), "WEBP", quality=_QUALITY, method=6, exif=exif)


def main() -> None:
    """Record the films if their sources have changed and Chromium is installed."""
    wanted = digest()
    if all(digest_in(path_of(name, scheme)) == wanted for name in (NAME, STILL) for scheme in SCHEMES):
        return
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("Chromium was not found: the films stay as they are")  # noqa: T201 - a command that prints
        return
    for scheme, frames in asyncio.run(record(chromium)).items():
        save(scheme, frames, wanted)


if __name__ == "__main__":
    main()
