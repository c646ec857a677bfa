"""The playground: a page of the images of ``gateway dev``, with buttons that break things to show how images recover.

It uses the public API like any other page. It also needs the list of images, a token
for each owner, and the buttons: these are served below ``/dev/``, only to this machine.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.api.json_body import Bodies, image_ids_in
from gateway.api.json_responses import success
from gateway.errors import InvalidRequest, RouteNotFound
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from gateway_dev.faults import FAULTS, NamedFaults
from gateway_dev.same_origin import this_machine_only
from gateway_dev.stack import ADMIN_TOKEN
from gateway_dev.tokens import token_for

_CONTENT_TYPES: Final[Mapping[str, str]] = {
    "index.html": "text/html",
    "playground.css": "text/css",
    "playground.js": "text/javascript",
}
MAX_PAUSE: Final = 15.0  # seconds
_BODY_TIMEOUT: Final = 10.0  # seconds


class Playground:
    """Serves the page, and turns faults of its stack on and off."""

    def __init__(self, rows: Sequence[ImageRow], cos: CosEmulator) -> None:
        self._rows = {row.image_id: row for row in rows}
        self._cos = cos
        self._faults = NamedFaults(cos.faults)
        self._files: Mapping[str, bytes] = {}
        self._bodies = Bodies(_BODY_TIMEOUT)
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

    async def images(self, request: web.Request) -> web.Response:
        """Answer the images, a token for each owner, the faults that are on, the console's address and token."""
        del request
        rows = self._rows.values()
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
                "admin_token": ADMIN_TOKEN,
            }
        )

    async def set_fault(self, request: web.Request) -> web.Response:
        """Turn a fault of COS on or off: ``{"fault": name, "on": bool}``."""
        body = await self._bodies.json(request)
        match body:
            case {"fault": str(name), "on": bool(on)} if name in FAULTS:
                (self._faults.turn_on if on else self._faults.turn_off)(name)
            case _:
                raise InvalidRequest('the body must be {"fault": "…", "on": true}')
        self._drop_bytes(self._rows)
        return success({"faults": self._faults.active()})

    async def expire(self, request: web.Request) -> web.Response:
        """Let the presigned URLs of ``image_ids`` expire now."""
        rows = [
            self._rows[image_id]
            for image_id in image_ids_in(await self._bodies.json(request))
            if image_id in self._rows
        ]
        self._faults.expire(row.key for row in rows)
        self._drop_bytes([row.image_id for row in rows])
        return success({"expired": len(rows)})

    async def restart_gateway(self, request: web.Request) -> web.Response:
        """Stop the gateway once this is answered, and start it again after ``pause`` seconds."""
        body = await self._bodies.json(request)
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
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": self._content_security_policy(),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=self._files[name], headers=headers, content_type=_CONTENT_TYPES[name], charset="utf-8")

    def _content_security_policy(self) -> str:
        """Allow the gateway's own files, and images from COS: presigned URLs lead there."""
        return (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {self._cos.url}; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )


def _read_package() -> Mapping[str, bytes]:
    """Return the files by name; blocks."""
    folder = resources.files("gateway_dev").joinpath("static")
    return {name: folder.joinpath(name).read_bytes() for name in _CONTENT_TYPES}
