"""The playground: a page of the images of ``gateway dev``, with buttons that break things to show how images recover.

It uses the public API like any other page. It also needs the list of images, a token
for each owner, and the buttons: these are served below ``/dev/``, only to this machine. Beside it, below ``/site/``,
are the documents that ``make site`` wrote, whose first page is live there.
"""

import asyncio
import glob
import mimetypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.api.json_bodies import image_ids_in, read_json, success
from gateway.errors import InvalidRequest, RouteNotFound
from gateway.net.ip_address import is_loopback
from gateway_dev.cos_emulator.faults import ArmedFault, Fault, Faults, Hang, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from gateway_dev.stack import ADMIN_TOKEN, token_for

_CONTENT_TYPES: Final[Mapping[str, str]] = {
    "index.html": "text/html",
    "logo.svg": "image/svg+xml",
    "playground.css": "text/css",
    "playground.js": "text/javascript",
    "tokens.css": "text/css",
}
MAX_PAUSE: Final = 15.0  # seconds
_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "throttle": Fault(action=Refuse(status=503, code="SlowDown", headers={"Retry-After": "1"}), times=None),
        "hang": Fault(action=Hang(), times=None),
    }
)
_EXPIRED: Final = Refuse(status=403, code="AccessDenied", message="Request has expired")


class Playground:
    """Serves the page, and turns faults of its stack on and off."""

    def __init__(self, rows: Sequence[ImageRow], cos: CosEmulator, site: Path = Path("site")) -> None:
        """``site``: the folder of the documents, which need not exist."""
        self._site = site.resolve()
        self._rows = {row.image_id: row for row in rows}
        self._cos = cos
        self._faults = NamedFaults(cos.faults)
        self._files: Mapping[str, bytes] = {}
        self._invalidate: Callable[[str], None] = lambda _: None
        # Set when the gateway is to stop, and start again ``pause`` seconds later.
        self.restart = asyncio.Event()
        self.pause = 0.0
        self.console = ""  # the address of the admin port, once it is known

    def add_routes(self, app: web.Application, invalidate: Callable[[str], None]) -> None:
        """Add the routes to the application of the public port. ``invalidate`` drops the bytes of an image."""
        self._invalidate = invalidate

        def add(method: str, path: str, handler: Handler, name: str) -> None:
            app.router.add_route(method, path, this_machine_only(handler), name=name)

        add(hdrs.METH_GET, "/", self.page, "playground")
        add(hdrs.METH_GET, "/dev/files/{name}", self.file, "playground_file")
        add(hdrs.METH_GET, "/site/{path:.*}", self.document, "playground_site")
        add(hdrs.METH_GET, "/dev/images", self.images, "playground_images")
        add(hdrs.METH_POST, "/dev/faults", self.set_fault, "playground_faults")
        add(hdrs.METH_POST, "/dev/expire", self.expire, "playground_expire")
        add(hdrs.METH_POST, "/dev/restart", self.restart_gateway, "playground_restart")

    async def page(self, request: web.Request) -> web.Response:
        del request
        return await self._file("index.html")

    async def file(self, request: web.Request) -> web.Response:
        """Answer the page's script or style sheet."""
        return await self._file(request.match_info["name"])

    async def document(self, request: web.Request) -> web.Response:
        """Answer a file of the site."""
        path = self._site / (request.match_info["path"] or "index.html")
        body = await asyncio.to_thread(_read_below, self._site, path)
        kind = mimetypes.guess_type(path.name, strict=False)[0] or "application/octet-stream"
        headers = _headers("default-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
        return web.Response(body=body, headers=headers, content_type=kind)

    async def images(self, request: web.Request) -> web.Response:
        """Answer the images, a token for each owner, the faults that are on, the console's address and token."""
        del request
        rows = self._rows.values()
        has_site = await asyncio.to_thread((self._site / "index.html").is_file)
        owners = sorted({row.owner for row in rows if row.owner is not None})
        return success(
            {
                "images": [
                    {"image_id": row.image_id, "file": row.key, "owner": row.owner, "public": row.public}
                    for row in rows
                ],
                "tokens": {owner: token_for(owner) for owner in owners},
                "faults": self._faults.active(),
                "console": self.console,
                "site": "/site/" if has_site else "",
                "admin_token": ADMIN_TOKEN,
            }
        )

    async def set_fault(self, request: web.Request) -> web.Response:
        """Turn a fault of COS on or off: ``{"fault": name, "on": bool}``."""
        body = await read_json(request)
        match body:
            case {"fault": str(name), "on": bool(on)} if name in FAULTS:
                (self._faults.turn_on if on else self._faults.turn_off)(name)
            case _:
                raise InvalidRequest('the body must be {"fault": "…", "on": true}')
        self._drop_bytes(self._rows)
        return success({"faults": self._faults.active()})

    async def expire(self, request: web.Request) -> web.Response:
        """Let the presigned URLs of ``image_ids`` expire now."""
        rows = [self._rows[image_id] for image_id in image_ids_in(await read_json(request)) if image_id in self._rows]
        self._faults.expire(row.key for row in rows)
        self._drop_bytes([row.image_id for row in rows])
        return success({"expired": len(rows)})

    async def restart_gateway(self, request: web.Request) -> web.Response:
        """Stop the gateway once this is answered, and start it again after ``pause`` seconds."""
        body = await read_json(request)
        pause = body.get("pause") if isinstance(body, dict) else None
        if not isinstance(pause, (int, float)) or not 0 <= pause <= MAX_PAUSE:
            raise InvalidRequest(f"pause must be 0 to {MAX_PAUSE:g} seconds")
        self.pause = float(pause)
        self.restart.set()
        return success({"pause": self.pause})

    def _drop_bytes(self, image_ids: Iterable[str]) -> None:
        """Drop bytes from memory, which would hide what happens at COS for a minute."""
        for image_id in image_ids:
            self._invalidate(image_id)

    async def _file(self, name: str) -> web.Response:
        if name not in _CONTENT_TYPES:
            raise RouteNotFound
        if not self._files:
            self._files = await asyncio.to_thread(_read_package)
        headers = _headers(self._content_security_policy())
        return web.Response(body=self._files[name], headers=headers, content_type=_CONTENT_TYPES[name], charset="utf-8")

    def _content_security_policy(self) -> str:
        """Allow the gateway's own files, and images from COS: presigned URLs lead there."""
        return (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {self._cos.url}; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )


def _headers(content_security_policy: str) -> dict[str, str]:
    return {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": content_security_policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


def _read_below(folder: Path, path: Path) -> bytes:
    """Return a file. Raises ``RouteNotFound`` if there is none below the folder; blocks."""
    found = path.resolve()
    if not found.is_relative_to(folder) or not found.is_file():
        raise RouteNotFound
    return found.read_bytes()


def _read_package() -> Mapping[str, bytes]:
    """Return the files by name; blocks."""
    package, brand = resources.files("gateway_dev"), resources.files("gateway").joinpath("web", "brand")
    pages = package.joinpath("web")
    folders = {"index.html": pages, "playground.css": pages, "playground.js": package.joinpath("static")}
    return {name: folders.get(name, brand).joinpath(name).read_bytes() for name in _CONTENT_TYPES}


def this_machine_only(handler: Handler) -> Handler:
    """Raise ``RouteNotFound`` for requests that do not come from this machine, or come from a page of another site.

    The ``Host`` must name this machine: with DNS rebinding a page of another site gives its own name the address
    127.0.0.1 and is then of the same origin. A request that changes something must prove by ``Origin`` that it comes
    from the playground, since browsers send requests of other sites too, and only hide the answer.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not (_is_local(request) and _is_of_this_page(request)):
            raise RouteNotFound("only for the playground on this machine")
        return await handler(request)

    return guarded


def _is_local(request: web.Request) -> bool:
    host = request.host.removeprefix("[").partition("]")[0] if request.host[:1] == "[" else request.host.split(":")[0]
    return is_loopback(host) and is_loopback(request.remote or "")


def _is_of_this_page(request: web.Request) -> bool:
    origin = request.headers.get(hdrs.ORIGIN)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    if origin is None:  # browsers send it with every POST
        return request.method in _READS
    return origin == f"http://{request.host}"


# Each lasts until it is turned off.
class NamedFaults:
    """The faults of an emulator that are on. Faults that a test or a user has added are left alone."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def active(self) -> list[str]:
        on = [armed.fault for armed in self._faults.armed]
        return [name for name, fault in FAULTS.items() if any(active is fault for active in on)]

    def turn_on(self, name: str) -> None:
        if name not in self.active():
            self._faults.add(FAULTS[name])

    def turn_off(self, name: str) -> None:
        """Turn a fault off. An answer that already hangs continues to hang until the gateway gives up."""
        self._keep(lambda armed: armed.fault is not FAULTS[name])

    def expire(self, keys: Iterable[str]) -> None:
        """Make COS refuse the next URL of each object as expired, as it does once the URL's time is over."""
        self._keep(lambda armed: armed.fault.action is not _EXPIRED or armed.fired == 0)
        for key in keys:
            self._faults.add(Fault(action=_EXPIRED, key=glob.escape(key), method="GET"))

    def _keep(self, wanted: Callable[[ArmedFault], bool]) -> None:
        self._faults.armed[:] = [armed for armed in self._faults.armed if wanted(armed)]
