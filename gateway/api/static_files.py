"""Files of the package: the web component and its settings, the console, the description of the public port."""

import asyncio
import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from typing import Any, Final

import yaml
from aiohttp import hdrs, web

from gateway.api.json_bodies import MAX_IMAGES
from gateway.errors import RouteNotFound
from gateway.presign.style_variants import Renditions
from gateway.settings import ImageProxySettings, Live

_NAME = re.compile(r"[a-z]+(?:-[a-z]+)*(?:\.(?P<hash>[A-Za-z0-9_-]{8}))?\.(?P<type>css|js)")
_ENTRY = re.compile(r"smart-image\.[A-Za-z0-9_-]{8}\.js")
# The name with a hash never gets other bytes (RFC 8246); the plain name is revalidated each time.
_FOR_A_YEAR = "public, max-age=31536000, immutable"
_REVALIDATE = "public, no-cache"
_FOR_MINUTES = "public, max-age=300"
# Pages wait for a style sheet before they show anything.
_STYLE_SHEET = f"{_FOR_MINUTES}, stale-while-revalidate=86400"
_CONTENT_TYPES = {"js": "text/javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # A file that is opened as a page loads and runs nothing.
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_CONSOLE_HEADERS: Final = {
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
_DOCUMENT_HEADERS: Final = {
    **_CONSOLE_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that the gateway serves from its own package, in memory, with the header fields of its response."""

    body: bytes
    gzipped: bytes
    etag: str
    integrity: str
    cache_control: str
    content_type: str


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """Serves the files of the web component (``<smart-image>``, for pages).

    makes_links: whether ``access.signed_links`` is configured.
    """

    renditions: Live[Renditions]
    image_proxy: Live[ImageProxySettings]
    makes_links: bool

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/static/config.json", self.config, name="static_config")
        app.router.add_get("/static/{name}", self.file, name="static")

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file, or 304. Raises ``RouteNotFound``."""
        found = (await asyncio.to_thread(_read_component)).get(request.match_info["name"])
        if found is None:
            raise RouteNotFound
        is_gzipped = _accepts_gzip(request)
        body, etag = (found.gzipped, f'{found.etag[:-1]}-gzip"') if is_gzipped else (found.body, found.etag)
        answer = _answer(request, body, etag, found.cache_control, found.content_type)
        if is_gzipped and answer.status == 200:
            answer.headers[hdrs.CONTENT_ENCODING] = "gzip"
        answer.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        return answer

    async def config(self, request: web.Request) -> web.Response:
        """Answer what pages may know of the configuration: the path of the component, the styles and the features."""
        files = await asyncio.to_thread(_read_component)
        entry = next((name for name in files if _ENTRY.fullmatch(name)), None)
        script = {"path": f"/static/{entry}", "integrity": files[entry].integrity} if entry is not None else None
        renditions, styles = self.renditions.value, sorted(self.renditions.value.styles)
        description = {
            "version": 1,
            "script": script,
            "batch": {"size": MAX_IMAGES},
            "styles": styles,
            # A fixed style has neither widths nor formats.
            "variants": {style: renditions.describe(style) for style in styles},
            "features": {
                "proxy": self.image_proxy.value.enabled,
                "meta": True,
                "beacons": True,
                "paints": True,
                "links": self.makes_links,
            },
        }
        body = json.dumps(description).encode()
        return _answer(request, body, _etag(body), _FOR_MINUTES, "application/json")


def _answer(request: web.Request, body: bytes, etag: str, cache_control: str, content_type: str) -> web.Response:
    headers = {**_HEADERS, "ETag": etag, "Cache-Control": cache_control}
    tags = {tag.strip().removeprefix("W/") for tag in request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")}
    if tags & {etag, "*"}:  # RFC 9110 section 13.1.2: weak comparison
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type=content_type, charset="utf-8")


def _accepts_gzip(request: web.Request) -> bool:
    """Whether Accept-Encoding names gzip with a weight above 0 (RFC 9110 section 12.5.3)."""
    for offer in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower().split(","):
        coding, _, weight = offer.replace(" ", "").partition(";")
        if coding == "gzip":
            return re.fullmatch(r"q=0(?:\.0*)?", weight) is None
    return False


@lru_cache(maxsize=1)
def _read_component() -> Mapping[str, StaticFile]:
    """Return the files by name. Blocks at the first call."""
    found = {}
    folder = resources.files("gateway").joinpath("web", "static")
    for file in folder.iterdir() if folder.is_dir() else ():
        if match := _NAME.fullmatch(file.name):
            body, content_type = file.read_bytes(), _CONTENT_TYPES[match["type"]]
            gzipped = gzip.compress(body, mtime=0)
            integrity = "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
            unhashed = _STYLE_SHEET if match["type"] == "css" else _REVALIDATE
            cache_control = _FOR_A_YEAR if match["hash"] is not None else unhashed
            found[file.name] = StaticFile(body, gzipped, _etag(body), integrity, cache_control, content_type)
    return found


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def add_console_routes(app: web.Application) -> None:
    add = app.router.add_get
    add("/", partial(_console_file, "index.html", _CONSOLE_HEADERS), name="console_page")
    add("/docs", partial(_console_file, "api.html", _DOCUMENT_HEADERS), name="docs")
    add("/docs/errors", partial(_console_file, "errors.html", _DOCUMENT_HEADERS), name="errors_page")
    add("/docs/runbook", partial(_console_file, "runbook.html", _DOCUMENT_HEADERS), name="runbook_page")
    add("/console/{name}", partial(_console_file, None, _CONSOLE_HEADERS), name="console_file")


async def _console_file(name: str | None, headers: Mapping[str, str], request: web.Request) -> web.Response:
    """Answer the file, with None the one that the address names. Raises ``RouteNotFound``."""
    name = name or request.match_info["name"]
    body = (await asyncio.to_thread(_read_console)).get(name)
    if body is None:
        raise RouteNotFound
    content_type = _CONTENT_TYPES[name.rpartition(".")[2]]
    return web.Response(body=body, headers=headers, content_type=content_type, charset="utf-8")


@lru_cache(maxsize=1)
def _read_console() -> Mapping[str, bytes]:
    """Return the pages, scripts and style sheets by name. Blocks."""
    package = resources.files("gateway").joinpath("web")
    files = [file for name in ("brand", "console", "console/vendor") for file in package.joinpath(name).iterdir()]
    return {file.name: file.read_bytes() for file in files if file.name.rpartition(".")[2] in _CONTENT_TYPES}


def document() -> Any:
    """Return the description of the public port. Reading it takes some milliseconds."""
    text = (resources.files("gateway.api") / "openapi.yaml").read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return json.dumps(document()).encode() + b"\n"


async def openapi(_: web.Request) -> web.Response:
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": _FOR_MINUTES}
    return web.Response(body=await asyncio.to_thread(_encoded), content_type="application/json", headers=headers)
