"""The console's page at ``/`` of the admin port, its files, and the pages below ``/docs``."""

import asyncio
from collections.abc import Mapping
from importlib import resources
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import RouteNotFound

# Name to its place in the package, and its type. Nothing else is served.
_FILES: Final = {
    "index.html": ("index.html", "text/html"),
    "api.html": ("api.html", "text/html"),
    "errors.html": ("errors.html", "text/html"),
    "runbook.html": ("runbook.html", "text/html"),
    "console.js": ("console.js", "text/javascript"),
    "charts.js": ("charts.js", "text/javascript"),
    "elements.js": ("elements.js", "text/javascript"),
    "gateway.js": ("gateway.js", "text/javascript"),
    "language.js": ("language.js", "text/javascript"),
    "lookup.js": ("lookup.js", "text/javascript"),
    "remedies.js": ("remedies.js", "text/javascript"),
    "state.js": ("state.js", "text/javascript"),
    "words.js": ("words.js", "text/javascript"),
    "console.css": ("console.css", "text/css"),
    "uPlot.js": ("vendor/uPlot.js", "text/javascript"),
    "uPlot.css": ("vendor/uPlot.css", "text/css"),
}
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# For the pages that have no script.
_HEADERS_OF_DOCUMENTS: Final = {
    **_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}


class ConsoleFiles:
    """Serves the files. Reads them once, at the first request."""

    def __init__(self) -> None:
        self._files: Mapping[str, bytes] | None = None

    def add_routes(self, app: web.Application) -> None:
        """Register the page and its files, and the pages of addresses, of error codes and of the runbook."""
        add = app.router.add_get
        add("/", self._page("index.html", _HEADERS), name="console_page")
        add("/docs", self._page("api.html", _HEADERS_OF_DOCUMENTS), name="docs")
        add("/docs/errors", self._page("errors.html", _HEADERS_OF_DOCUMENTS), name="errors_page")
        add("/docs/runbook", self._page("runbook.html", _HEADERS_OF_DOCUMENTS), name="runbook_page")
        add("/console/{name}", self.file, name="console_file")

    def _page(self, name: str, headers: Mapping[str, str]) -> Handler:
        async def page(_: web.Request) -> web.Response:
            return await self._answer(name, headers)

        return page

    async def file(self, request: web.Request) -> web.Response:
        """Answer a script or a style sheet. Raises ``RouteNotFound``."""
        return await self._answer(request.match_info["name"], _HEADERS)

    async def _answer(self, name: str, headers: Mapping[str, str]) -> web.Response:
        if name not in _FILES:
            raise RouteNotFound
        if self._files is None:
            self._files = await asyncio.to_thread(_read_package)
        return web.Response(body=self._files[name], headers=headers, content_type=_FILES[name][1], charset="utf-8")


def _read_package() -> Mapping[str, bytes]:
    """Return the files by name. Blocks."""
    folder = resources.files("gateway").joinpath("web", "console")
    return {name: folder.joinpath(path).read_bytes() for name, (path, _) in _FILES.items()}
