"""The client of the canary: what it says of fronts that fail, on real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gateway.canary.client import open_front_client
from gateway.canary.rules import Seen
from gateway_dev.processes import free_port
from tests.certificates import server_context, write_certificate
from tests.serving import serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def fronted(handler: Handler) -> AsyncIterator[str]:
    """A front with this handler for every address."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with serving(app, handler_cancellation=True, shutdown_timeout=0.1) as url:
        yield url


async def ask(url: str, *, origin: str | None = None, timeout: float = 30) -> Seen:
    async with open_front_client(lambda: "request-id", timeout) as client:
        return await client.ask(url, origin=origin)


async def test_an_answer_is_read_to_its_end_with_its_age() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["X-Request-Id"] == "request-id"
        assert not {"Authorization", "Cookie"} & request.headers.keys()
        return web.Response(body=b"12345", headers={"ETag": '"t"', "Age": "7"}, content_type="image/png")

    async with fronted(answer) as url:
        seen = await ask(f"{url}/i/a?sig=s")
    assert (seen.status, seen.length, seen.etag, seen.content_type, seen.age) == (200, 5, '"t"', "image/png", 7)


async def test_a_body_that_breaks_off_is_no_whole_image() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "image/png"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with fronted(cut) as url:
        seen = await ask(url)
    assert (seen.status, seen.problem) == (200, "the body breaks off")


async def test_a_certificate_that_no_browser_accepts_is_named(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "127.0.0.1")

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    context: ssl.SSLContext = server_context(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        seen = await ask(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert seen.status is None
    assert "the certificate is refused: " in seen.problem


@pytest.mark.parametrize(("origin_is_named", "status"), [(True, 200), (False, 302)])
async def test_a_redirect_is_followed_to_cos_alone(origin_is_named: bool, status: int) -> None:
    """Anything else could lead the gateway to an address of somebody else's choice."""

    async def cos(request: web.Request) -> web.Response:
        assert request.path_qs == "/key?q-signature=a%2Fb"
        assert "X-Request-Id" not in request.headers
        return web.Response(body=b"123", content_type="image/png")

    async with fronted(cos) as origin:

        async def redirect(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": f"{origin}/key?q-signature=a%2Fb"})

        async with fronted(redirect) as url:
            seen = await ask(url, origin=origin if origin_is_named else "http://127.0.0.1:1")
    assert seen.status == status


async def test_nobody_listens_there_and_no_answer_contains_the_address_which_may_be_a_link() -> None:
    port = free_port()
    assert f"no connection to 127.0.0.1:{port}" in (await ask(f"http://127.0.0.1:{port}")).problem
    for url in (f"http://127.0.0.1:{port}/i/a?sig=SECRET", "http://[::1/i/a?sig=SECRET", "http://a b/?sig=SECRET"):
        seen = await ask(url)
        assert seen.status is None
        assert "SECRET" not in seen.problem


async def test_fronts_that_are_silent_keep_no_other_front_waiting() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/silent":
            await asyncio.Event().wait()
        return web.Response()

    async with (
        fronted(answer) as silent,
        fronted(answer) as other,
        open_front_client(lambda: "request-id", 3) as client,
    ):
        asked = [client.ask(url) for url in (*[f"{silent}/silent"] * 10, f"{other}/i/a")]
        assert [seen.status for seen in await asyncio.gather(*asked)] == [None] * 10 + [200]
