"""The system's Chromium, driven by Playwright, and the pages that it opens."""

import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import IO

from aiohttp import web

from tests.serving import serving

# Chromium does not start as root with its sandbox; the other flags prevent requests to other hosts. The features would
# double a context's processor time: a spare renderer, seldom used, and the pages of the address bar's pop-ups.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=SpareRendererForSitePerProcess,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
)


def chromium_path() -> str | None:
    """Return the path of Chromium, or None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def running_chromium() -> Iterator[str]:
    """Run a headless Chromium with a temporary profile; yields its DevTools address."""
    path = chromium_path()
    assert path is not None, "Chromium is not installed: apt-get install chromium, or make test ARGS=--ignore=tests/web"
    with tempfile.TemporaryDirectory(prefix="image-gateway-chromium-", ignore_cleanup_errors=True) as profile:
        command = [path, "--headless", *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        try:
            yield _devtools_address(process.stderr)
        finally:
            process.terminate()
            process.communicate()


def _devtools_address(output: IO[bytes]) -> str:
    for line in output:
        found = re.search(rb"DevTools listening on (ws://\S+)", line)
        if found is not None:
            # Keep reading: a full pipe would block Chromium.
            threading.Thread(target=output.read, name="chromium-output", daemon=True).start()
            return found[1].decode()
    raise AssertionError("Chromium ended before it printed its DevTools address")


def page_of(body: str, title: str = "A page") -> str:
    """Return the HTML of a page."""
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>{body}</html>'


@dataclass
class Site:
    """A web site on another origin than the gateway's: its address, and its pages by path."""

    url: str = ""
    pages: dict[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)

    def put(self, path: str, body: str, *, headers: Mapping[str, str] | None = None, title: str = "A page") -> str:
        """Add a page; return its address."""
        self.pages[path] = (page_of(body, title), headers or {})
        return self.url + path

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the page, or 404."""
        found = self.pages.get(request.path)
        if found is None:
            return web.Response(status=404)
        return web.Response(text=found[0], content_type="text/html", headers=found[1])


@asynccontextmanager
async def running_site() -> AsyncIterator[Site]:
    """Serve a site without pages on a free port."""
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    async with serving(app) as site.url:
        yield site
