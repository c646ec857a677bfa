"""The built files of the web component, and the settings that pages may read: ``/static/…``."""

import asyncio
import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from aiohttp import hdrs, web

from gateway.api.batch import MAX_IMAGES
from gateway.errors import RouteNotFound

_NAME = re.compile(r"[a-z]+(?:-[a-z]+)*(?:\.(?P<hash>[A-Za-z0-9_-]{8}))?\.(?P<type>css|js)")
_ENTRY = re.compile(r"smart-image\.[A-Za-z0-9_-]{8}\.js")
# The name with a hash never gets other bytes (RFC 8246); the plain name is revalidated each time.
_FOR_A_YEAR = "public, max-age=31536000, immutable"
_REVALIDATE = "public, no-cache"
_FOR_MINUTES = "public, max-age=300"
# Pages wait for a style sheet before they show anything.
_STYLE_SHEET = f"{_FOR_MINUTES}, stale-while-revalidate=86400"
_CONTENT_TYPES = {"js": "text/javascript", "css": "text/css"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # A file that is opened as a page loads and runs nothing.
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file with its response fields."""

    body: bytes
    gzipped: bytes
    etag: str
    integrity: str
    cache_control: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Features:
    """What pages may know of the configuration.

    variants: the widths and formats of each style; a fixed style has none.
    proxy: images are served.
    links: signed links are made.
    """

    variants: Mapping[str, tuple[Sequence[int], Sequence[str]]]
    proxy: bool
    links: bool


class StaticFiles:
    """Serves the files. Reads them once, at the first request. ``features`` returns the present features."""

    def __init__(self, features: Callable[[], Features]) -> None:
        self._features = features
        self._files: Mapping[str, StaticFile] | None = None

    def add_routes(self, app: web.Application) -> None:
        """Register ``config.json`` and the files of the package."""
        app.router.add_get("/static/config.json", self.config, name="static_config")
        app.router.add_get("/static/{name}", self.file, name="static")

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file, or 304. Raises ``RouteNotFound``."""
        found = (await self._read()).get(request.match_info["name"])
        if found is None:
            raise RouteNotFound
        if _accepts_gzip(request):
            etag = f'{found.etag[:-1]}-gzip"'
            answer = _answer(request, found.gzipped, etag, found.cache_control, found.content_type)
            if answer.status == 200:
                answer.headers[hdrs.CONTENT_ENCODING] = "gzip"
        else:
            answer = _answer(request, found.body, found.etag, found.cache_control, found.content_type)
        answer.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        return answer

    async def config(self, request: web.Request) -> web.Response:
        """Answer the path of the component and the features of this gateway."""
        files = await self._read()
        entry = next((name for name in files if _ENTRY.fullmatch(name)), None)
        script = {"path": f"/static/{entry}", "integrity": files[entry].integrity} if entry is not None else None
        body = json.dumps(_description(self._features(), script)).encode()
        return _answer(request, body, _etag(body), _FOR_MINUTES, "application/json")

    async def _read(self) -> Mapping[str, StaticFile]:
        if self._files is None:
            self._files = await asyncio.to_thread(_read_package)
        return self._files


def _description(features: Features, script: Mapping[str, str] | None) -> Mapping[str, Any]:
    return {
        "version": 1,
        "script": script,
        "batch": {"size": MAX_IMAGES},
        "styles": sorted(features.variants),
        "variants": {
            style: {"widths": widths, "formats": formats}
            for style, (widths, formats) in sorted(features.variants.items())
        },
        "features": {
            "proxy": features.proxy,
            "meta": True,
            "beacons": True,
            "paints": True,
            "links": features.links,
        },
    }


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


def _read_package() -> dict[str, StaticFile]:
    """Return the files by name. Blocks."""
    found = {}
    folder = resources.files("gateway").joinpath("web", "static")
    for file in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(file.name)
        if match is not None:
            body = file.read_bytes()
            integrity = "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
            unhashed = _STYLE_SHEET if match["type"] == "css" else _REVALIDATE
            found[file.name] = StaticFile(
                body,
                gzip.compress(body, mtime=0),
                _etag(body),
                integrity,
                _FOR_A_YEAR if match["hash"] is not None else unhashed,
                _CONTENT_TYPES[match["type"]],
            )
    return found


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
