"""The console's page at ``/`` of the admin port, its files, and the pages below ``/docs``."""

import asyncio
from collections.abc import Mapping
from importlib import resources
from typing import Final

from aiohttp import web

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
        app.router.add_get("/", self.page, name="console_page")
        app.router.add_get("/docs", self.docs, name="docs")
        app.router.add_get("/docs/errors", self.errors, name="errors_page")
        app.router.add_get("/docs/runbook", self.runbook, name="runbook_page")
        app.router.add_get("/console/{name}", self.file, name="console_file")

    async def page(self, request: web.Request) -> web.Response:
        del request
        return await self._answer("index.html")

    async def docs(self, request: web.Request) -> web.Response:
        """Answer ``/openapi.json`` as a page of tables and examples."""
        del request
        return await self._answer("api.html", _HEADERS_OF_DOCUMENTS)

    async def errors(self, request: web.Request) -> web.Response:
        """Answer the page of error codes, a heading for each."""
        del request
        return await self._answer("errors.html", _HEADERS_OF_DOCUMENTS)

    async def runbook(self, request: web.Request) -> web.Response:
        """Answer the runbook, a heading for each alert."""
        del request
        return await self._answer("runbook.html", _HEADERS_OF_DOCUMENTS)

    async def file(self, request: web.Request) -> web.Response:
        """Answer a script or a style sheet. Raises ``RouteNotFound``."""
        return await self._answer(request.match_info["name"])

    async def _answer(self, name: str, headers: Mapping[str, str] = _HEADERS) -> web.Response:
        if name not in _FILES:
            raise RouteNotFound
        if self._files is None:
            self._files = await asyncio.to_thread(_read_package)
        return web.Response(body=self._files[name], headers=headers, content_type=_FILES[name][1], charset="utf-8")


def _read_package() -> Mapping[str, bytes]:
    """Return the files by name. Blocks."""
    folder = resources.files("gateway").joinpath("web", "console")
    return {name: folder.joinpath(path).read_bytes() for name, (path, _) in _FILES.items()}
