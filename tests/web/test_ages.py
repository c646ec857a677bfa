"""How long browsers show the old image after a change, directly and behind an nginx whose copy was not new."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Images, StartGateway
from tests.documented_ages import BOUND, CLOCK, gone_within_bound
from tests.nginx.conftest import in_front_of, starting_nginx
from tests.waiting import until, until_answered, until_listening_to_changes
from tests.web.browser import Site
from tests.web.conftest import OpenWindow, in_browser

MAX_AGE = 4
SHORT = {"max_age": MAX_AGE, "stale_while_revalidate": 1}

FETCH = "async (address) => (await fetch(address)).ok"


# WebKit under WebDriver keeps nothing.
@pytest.mark.parametrize(
    ("ages", "bound"),
    [(SHORT, MAX_AGE + 1 + CLOCK), (gone_within_bound(), BOUND)],
    ids=["short times", "gone within a minute"],
)
@pytest.mark.parametrize("open_window", [in_browser("chromium"), in_browser("firefox")], indirect=True)
async def test_no_browser_shows_an_image_for_longer_than_promised(
    open_window: OpenWindow,
    start_gateway: StartGateway,
    images: Images,
    site: Site,
    tmp_path: Path,
    ages: dict[str, Any],
    bound: int,
) -> None:
    """The ages of all layers together are those of one, from the first copy on, but each rounds to a second."""
    gateway = await start_gateway(image_proxy=ages)
    await until_listening_to_changes(gateway.ports.admin)
    for image_id in "ab":
        await images.add(image_id)
    async with starting_nginx(tmp_path) as start_nginx, open_window() as window:
        nginx = await start_nginx(in_front_of(gateway.address, "gateway.conf"))
        await window.open(site.put("/", ""))
        await nginx.get("/i/a")
        stored = time.time()
        await until(lambda: time.time() > stored + MAX_AGE - 1, what="an older copy in nginx")
        behind, direct = f"{nginx.url}/i/a", f"{gateway.ports.public}/i/b"
        asked = time.time()
        for address in (behind, direct):
            assert await window.evaluate(f"({FETCH})('{address}')")
        fetched = time.time()
        await until(lambda: nginx.access_log.count("/i/a") == 2)
        is_older = nginx.access_log.rstrip().endswith('"HIT"')  # nginx asks anew if it was held up
        ends = {behind: (stored if is_older else fetched) + bound + CLOCK, direct: fetched + bound}
        await images.execute("UPDATE images SET is_public = false")
        for path in ("/i/a", "/i/b"):
            await until_answered(gateway, path, 404)
        while ends:
            for address, end in list(ends.items()):
                begun = time.time()
                if await window.evaluate(f"({FETCH})('{address}')"):
                    assert begun < end, f"{address}: {begun - end:.1f} s too late"
                else:
                    # Sooner only if the browser kept nothing.
                    assert address == behind or time.time() > asked + ages["max_age"] - CLOCK
                    del ends[address]
            await asyncio.sleep(0.2)
