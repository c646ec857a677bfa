"""A service with answers that the test sets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gateway.net.bounded_http import BoundedHttp
from tests.serving import serving


@dataclass
class Service:
    """An HTTP server with one answer, which can be changed; ``seen`` holds the requests with their bodies."""

    url: str = ""
    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    seen: list[tuple[web.Request, bytes]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer, or hang until the client leaves."""
        self.seen.append((request, await request.read()))
        if self.hangs:
            await asyncio.Event().wait()
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def answering() -> AsyncIterator[Service]:
    """Run a service on a free port."""
    service = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    async with serving(app, handler_cancellation=True, shutdown_timeout=0.1) as service.url:
        yield service


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service on a free port."""
    async with answering() as service:
        yield service


@pytest.fixture
async def http() -> AsyncIterator[BoundedHttp]:
    """A client whose requests take at most 5 seconds."""
    async with BoundedHttp(5) as http:
        yield http
