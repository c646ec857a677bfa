"""Adapter on both sides of the gateways, which translates between them and http-cache-tests.

The suite's server plays the origin of a transparent cache: it knows a test by its path, a request by its number, and
tells the client by fields of its own which request an answer was made for. The gateway passes none of that on. So the
number is handed around the gateway, and the fields are those of the answer that the gateway's answer was made from.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from gateway_dev.database import ImageRow, ImagesTable

# The suite's own header fields, which its client reads.
_REPORTED = (
    "Server-Base-Url",
    "Server-Request-Count",
    "Client-Request-Count",
    "Server-Now",
    "Request-Numbers",
    "Capability-Seen",
)
# What belongs to one connection: of an answer only what frames it, since the gateway must drop the rest by itself.
_OF_ANSWER = {"content-length", "transfer-encoding"}
_OF_REQUEST = _OF_ANSWER | {"connection", "host"}
# COS has one for every object, and the gateway keeps nothing without; the suite is asked by Last-Modified in its place.
_ETAG = '"of the adapter"'
_SHORT = 2  # seconds: what the suite calls fresh for no longer than that is stale after its pause of three


@dataclass
class _Test:
    """State of a test: its gateway, the number of its open request, and what the suite's server reported of that."""

    gateway: str
    number: str = ""
    stored: dict[str, str] = field(default_factory=dict)
    reported: dict[str, str] = field(default_factory=dict)
    last_modified: str | None = None


class Adapter:
    """Two applications: ``front`` for the suite's client, and ``origin`` as the COS of the gateways.

    The suite's responses say how long they are fresh, while a gateway takes that from ``memory_cache.ttl``. So
    ``gateways`` has one whose entries stay fresh, "fresh", one whose entries become stale, "stale", and another such
    one for origins that fail, "failing", because its circuit breaker opens after failures.
    """

    def __init__(self, session: aiohttp.ClientSession, suite: str, table: ImagesTable) -> None:
        self.gateways: dict[str, str] = {}
        self._session = session
        self._suite = suite
        self._table = table
        self._tests: dict[str, _Test] = {}

    def front(self) -> web.Application:
        """Application in the place of the cache, for the suite's client."""
        app = web.Application()
        app.router.add_put("/config/{test}", self._configure)
        app.router.add_get("/state/{test}", self._state)
        app.router.add_route("*", "/test/{test}", self._ask)
        return app

    def origin(self) -> web.Application:
        """Application in the place of COS, for the gateways."""
        app = web.Application()
        app.router.add_route("*", "/test/{test}", self._answer)
        return app

    async def _configure(self, request: web.Request) -> web.StreamResponse:
        name, steps = request.match_info["test"], await request.json()
        self._tests[name] = _Test(_kind_of(steps))
        row = ImageRow(name, None, f"test/{name}", content_type="image/png", public=True)
        await asyncio.to_thread(self._table.put, [row])
        async with self._session.put(f"{self._suite}/config/{name}", json=steps) as response:
            return web.Response(status=response.status, body=await response.read())

    async def _state(self, request: web.Request) -> web.StreamResponse:
        async with self._session.get(f"{self._suite}/state/{request.match_info['test']}") as response:
            return web.Response(status=response.status, body=await response.read())

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        """Forward a request of the suite's client to the gateway."""
        name = request.match_info["test"]
        test = self._tests[name]
        test.number, test.reported = request.headers.get("Req-Num", ""), {}
        async with self._session.request(
            request.method,
            f"{self.gateways[test.gateway]}/i/{name}",
            params=request.query,
            headers=_but(_OF_REQUEST, request.headers),
            data=await request.read() or None,
            allow_redirects=False,
        ) as response:
            body = await response.read()
            made_from_stored = not test.reported or (response.status < 400 and test.reported.get("status", "") >= "400")
            reported = test.stored if made_from_stored else test.reported
            headers = [
                *_but(_OF_ANSWER, response.headers),
                *((key, reported[key]) for key in _REPORTED if key in reported),
            ]
            answer = web.Response(status=response.status, headers=headers)
            if request.method != "HEAD":
                answer.body = body
            return answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Forward a request of a gateway to the suite's server."""
        name = request.match_info["test"]
        test = self._tests[name]
        headers = CIMultiDict([*_but(_OF_REQUEST, request.headers), ("Req-Num", test.number)])
        if headers.get("If-None-Match") == _ETAG:
            del headers["If-None-Match"]
            if test.last_modified is not None:
                headers["If-Modified-Since"] = test.last_modified
        try:
            async with self._session.request(request.method, f"{self._suite}/test/{name}", headers=headers) as response:
                body = await response.read()
        except aiohttp.ClientError:
            assert request.transport is not None
            request.transport.abort()  # as the suite did
            return web.Response()
        test.reported = {key: response.headers.get(key, "") for key in _REPORTED} | {"status": str(response.status)}
        if response.status < 400:
            test.stored = test.reported
        answer = web.Response(status=response.status, headers=_but(_OF_ANSWER, response.headers), body=body)
        if answer.content_type == "text/plain":  # the suite's default if a test sets no type
            answer.content_type = "image/png"
        if "ETag" not in answer.headers:
            answer.headers["ETag"] = _ETAG
            test.last_modified = response.headers.get("Last-Modified")
        return answer


def _but(left_out: set[str], headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in left_out]


def _kind_of(steps: list[dict[str, Any]]) -> str:
    """Which gateway a test is for."""
    if any(step.get("disconnect") or step.get("response_status", [200])[0] >= 500 for step in steps):
        return "failing"
    fields = {name.lower(): value for name, value, *_ in steps[0].get("response_headers", [])}
    lifetime = fields.get("expires")
    for directive in str(fields.get("cache-control", "")).split(","):
        key, _, seconds = directive.strip().partition("=")
        if key == "max-age" and seconds.isdecimal():
            lifetime = int(seconds)
    return "stale" if isinstance(lifetime, int) and lifetime <= _SHORT else "fresh"
