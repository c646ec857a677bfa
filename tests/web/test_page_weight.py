"""The bytes of a page: photos of 4 MB as cards of 320 pixels, through nginx and its cache."""

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser

from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, in_front_of, starting_nginx
from tests.waiting import until
from tests.web.browser import Site
from tests.web.conftest import on_one_loop

PHOTOS = 50
STYLES = {"card": {"widths": [320, 640], "formats": ["avif", "webp"], "quality": {"avif": 50, "webp": 75}}}


def large_photo() -> bytes:
    """A JPEG of about 4 MB: 3000 by 2000 pixels with colours, shapes of all sizes, and grain."""
    size = (3000, 2000)
    picture = Image.new("RGB", size, "#808080")
    for columns in (6, 24, 96, 375):  # like a photo, it has as much detail in any size
        rows = columns * 2 // 3
        spots = Image.frombytes("RGB", (columns, rows), os.urandom(3 * columns * rows))
        picture = Image.blend(picture, spots.resize(size, Image.Resampling.BICUBIC), 0.3)
    grain = Image.frombytes("L", size, os.urandom(6_000_000)).convert("RGB")
    file = io.BytesIO()
    Image.blend(picture, grain, 0.2).save(file, "JPEG", quality=94)
    return file.getvalue()


@on_one_loop()
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway with the photos p0 to p49, all of the same bytes."""
    photo = await asyncio.to_thread(large_photo)
    assert 3_500_000 < len(photo) < 5_000_000
    for number in range(PHOTOS):
        images.cos.store.put(BUCKET, f"p{number}.jpg", photo, content_type="image/jpeg")
    rows = [ImageRow(f"p{number}", None, f"p{number}.jpg", public=True) for number in range(PHOTOS)]
    await asyncio.to_thread(images.table.put, rows)
    # The emulator makes fifty pictures of six megapixels here, on a machine that may be busy.
    return await start_gateway(image_styles=STYLES, image_proxy={"timeout": 120})


@on_one_loop()
async def nginx(gateway: RunningGateway, tmp_path: Path) -> AsyncIterator[Nginx]:
    """nginx with ``gateway.conf`` and its cache."""
    async with starting_nginx(tmp_path) as start:
        files = in_front_of(gateway.address, "gateway.conf")
        yield await start(files, {"proxy_read_timeout 45s": "proxy_read_timeout 120s"})


def picture(base: str, number: int) -> str:
    """A card as a page writes it by hand."""

    def sources(kind: str) -> str:
        address = f"{base}/i/p{number}?style=card&amp;format={kind}"
        return f"{address}&amp;w=320 320w, {address}&amp;w=640 640w"

    return (
        f'<picture><source type="image/avif" sizes="320px" srcset="{sources("avif")}">'
        f'<source type="image/webp" sizes="320px" srcset="{sources("webp")}">'
        f'<img src="{base}/i/p{number}?style=card&amp;w=320&amp;format=original" alt="" width="320" height="213">'
        "</picture>"
    )


async def test_fifty_photos_of_4_mb_are_a_page_of_less_than_2_mb(browser: Browser, site: Site, nginx: Nginx) -> None:
    address = site.put("/", "".join(picture(nginx.url, number) for number in range(PHOTOS)))
    for _ in range(2):
        context = await browser.new_context(viewport={"width": 1000, "height": 800})
        page = await context.new_page()
        await page.goto(address, wait_until="load", timeout=240_000)
        shown = await page.evaluate(
            "[...document.images].map((img) => [img.complete && img.naturalWidth, new URL(img.currentSrc).search])"
        )
        assert shown == [[320, "?style=card&format=avif&w=320"]] * PHOTOS
        # Timing-Allow-Origin lets a page of another origin read the sizes.
        sizes = await page.evaluate(
            """performance.getEntriesByType("resource").filter(({name}) => name.includes("/i/p"))
                 .map(({transferSize}) => transferSize)"""
        )
        await context.close()
        assert len(sizes) == PHOTOS
        assert all(sizes)
        assert sum(sizes) < 2_000_000
    await until(lambda: len(re.findall(r'"(MISS|HIT)"$', nginx.access_log, re.MULTILINE)) >= 2 * PHOTOS)
    caches = re.findall(r'"(MISS|HIT)"$', nginx.access_log, re.MULTILINE)
    assert (caches.count("MISS"), caches.count("HIT")) == (PHOTOS, PHOTOS)
