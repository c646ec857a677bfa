"""A server between a browser and the gateway, which serves pages of the gateway's own origin and can fail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.serving import serving
from tests.web.browser import page_of

# RFC 9110 section 7.6.1, and what the server that sends the answer sets itself
_OWN = ("Connection", "Keep-Alive", "Transfer-Encoding", "Date", "Server")


@dataclass
class Front:
    """Passes requests on to ``behind``, and records them as ``METHOD path?query``."""

    session: aiohttp.ClientSession
    behind: str
    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    is_down: bool = False
    delay: float = 0
    """Seconds before each answer."""
    cuts: float = 0
    """How many more answers with images break off after half of their bytes."""
    _held: dict[str, asyncio.Event] = field(default_factory=dict)

    def put(self, path: str, body: str) -> str:
        """Add a page of this origin; return its address."""
        self.pages[path] = page_of(body)
        return self.url + path

    def asked_for(self, text: str) -> list[str]:
        """Return the requests that contain ``text``."""
        return [entry for entry in self.seen if text in entry]

    def hold(self, path: str) -> Callable[[], None]:
        """Answer requests whose path and query begin with ``path`` only after the returned function was called."""
        self._held[path] = event = asyncio.Event()
        return event.set

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer with a page, or with the answer of the gateway; while it is down, close the connection instead."""
        if request.path in self.pages:
            return web.Response(text=self.pages[request.path], content_type="text/html")
        self.seen.append(f"{request.method} {request.raw_path}")
        for path, event in self._held.items():
            if request.raw_path.startswith(path):
                await event.wait()
        await asyncio.sleep(self.delay)
        if self.is_down:
            if request.transport is not None:  # the browser has not closed it before
                request.transport.close()
            return web.Response()
        address = URL(self.behind + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        body = await request.read()
        async with self.session.request(request.method, address, headers=headers, data=body) as answer:
            kept = CIMultiDict((name, value) for name, value in answer.headers.items() if name not in _OWN)
            data = await answer.read()
            if self.cuts > 0 and request.method == "GET" and request.path.startswith("/i/"):
                self.cuts -= 1
                return await _half(request, answer.status, kept, data)
            return web.Response(status=answer.status, headers=kept, body=data)


async def _half(request: web.Request, status: int, headers: "CIMultiDict[str]", data: bytes) -> web.StreamResponse:
    """Send half of the body, and close the connection: a gateway does so when COS dies in the middle."""
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def running_front(behind: str) -> AsyncIterator[Front]:
    """Run a front on a free port."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        front = Front(session, behind)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", front.answer)
        async with serving(app) as front.url:
            yield front
            for event in front._held.values():
                event.set()
