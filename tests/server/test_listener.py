"""The life of both ports: listen, serve, drain, close."""

import asyncio
import gc
import itertools
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from gateway.server.acceptor import Endpoint, Site
from gateway.server.listener import Listening
from gateway.service.metrics import Metrics
from gateway.service.ports import serve as serve_service
from gateway.service.service import Service
from gateway.settings import Settings
from gateway_dev.cos_emulator.faults import Drip, Fault, Hang
from tests.conftest import Images
from tests.limits import LIMIT
from tests.objects.test_transfer import no_collector
from tests.ports import reserved_port
from tests.raw_client import connect, exchange, statuses
from tests.waiting import until, until_asked

DATA = bytes(range(256)) * 1000
KEY = "objects/cat.png"
RawSettings = dict[str, dict[str, Any]]


@pytest.fixture
def serving(raw_settings: RawSettings) -> Callable[..., Any]:
    """Serve a gateway within the block; after it, the drain may take ``grace`` seconds."""

    @asynccontextmanager
    async def serve(*, grace: float = 5, **server: Any) -> AsyncIterator[Listening]:
        section = {**raw_settings["server"], "shutdown_grace": grace, **server}
        settings = Settings.model_validate({**raw_settings, "server": section})
        async with serve_service(settings, Metrics()) as running:
            yield running.ports

    return serve


@asynccontextmanager
async def site(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Serve the handler within the block, and return its address."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    started = Site(runner, Endpoint("127.0.0.1", 0, 60, 1000, "server", "public"), 60, Metrics().server.ports)
    await started.start()
    yield started.name
    await runner.cleanup()


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the body of a response that must be complete."""
    async with session.get(url) as response:
        assert response.status == 200
        return await response.read()


async def until_draining(session: aiohttp.ClientSession, ports: Listening) -> None:
    """Wait until a balancer would see that nothing more should be sent here."""
    async with asyncio.timeout(LIMIT):
        while True:
            async with session.get(ports.public + "/readyz") as response:
                if response.status == 503:
                    return
            await asyncio.sleep(0.01)


async def test_two_colons_are_every_ipv6_address_and_no_ipv4_one(serving: Callable[..., Any]) -> None:
    with reserved_port() as port:  # no other server has it on 127.0.0.1
        async with serving(host="::", port=port) as ports, aiohttp.ClientSession() as session:
            url = ports.public.replace("[::]", "[::1]")
            assert url != ports.public
            async with session.get(url + "/healthz") as response:
                assert response.status == 200
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(ports.public.replace("[::]", "127.0.0.1") + "/healthz")


async def test_requests_in_flight_finish_before_the_port_closes(serving: Callable[..., Any], images: Images) -> None:
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=Drip(size=len(DATA) // 50, every=0.1)))
    closing = asyncio.Event()

    async def serve(started: "asyncio.Future[Listening]") -> None:
        async with serving(grace=LIMIT) as ports:
            started.set_result(ports)
            await closing.wait()

    started: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    service = asyncio.create_task(serve(started))
    ports = await started
    async with aiohttp.ClientSession() as session:
        transfer = asyncio.create_task(fetch(session, ports.public + "/i/cat"))
        await until_asked(images.cos, KEY)
        closing.set()
        await until_draining(session, ports)
        assert not transfer.done()
        for port in (ports.admin, ports.public):
            async with aiohttp.ClientSession() as another, another.get(port + "/healthz") as response:
                assert response.status == 200, "new connections are accepted"
        assert not transfer.done()
        assert await transfer == DATA
        await asyncio.wait_for(service, LIMIT)
        with pytest.raises(aiohttp.ClientConnectorError):
            await fetch(session, ports.public + "/healthz")


async def test_a_client_that_reads_the_last_bytes_slowly_gets_them(serving: Callable[..., Any], images: Images) -> None:
    data = DATA * 10
    await images.add("cat", data)
    async with AsyncExitStack() as clients:
        async with serving(grace=LIMIT) as ports:
            connection = await clients.enter_async_context(connect(ports.public, receive_buffer=16_384))
            await connection.get("/i/cat")
            head = await connection.read_head()
            reading = asyncio.create_task(connection.read_body(head))
        assert await reading == data


async def test_requests_that_outlast_the_grace_are_aborted(
    serving: Callable[..., Any], images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=Hang(at=100_000), times=None))
    async with AsyncExitStack() as clients:
        async with serving(grace=0.2) as ports:
            connection = await clients.enter_async_context(connect(ports.public))
            await connection.get("/i/cat")
            await connection.read_head()
            began = time.monotonic()
        assert time.monotonic() - began < 30
        assert len(await connection.read_rest()) < len(DATA)
    assert "shutdown_grace is over" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_without_requests_in_flight_the_drain_ends_at_once(serving: Callable[..., Any]) -> None:
    async with serving(grace=60) as ports, connect(ports.public) as connection:
        await connection.get("/healthz")
        await connection.read_body(await connection.read_head())  # a connection that is kept alive
        began = time.monotonic()
    assert time.monotonic() - began < 30


async def test_a_request_that_comes_at_the_moment_of_the_drain_is_answered(serving: Callable[..., Any]) -> None:
    with ExitStack() as clients:
        async with serving() as ports:
            url = urlsplit(ports.public)
            client = clients.enter_context(socket.create_connection((url.hostname, url.port), timeout=LIMIT))
            client.send(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")  # the loop does not run before the drain
        assert client.recv(12) == b"HTTP/1.1 200"


async def test_connections_that_wait_in_the_backlog_are_accepted_before_the_listener_closes() -> None:
    """The kernel resets those that are still there, and a client takes that for a failure."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    listener.setblocking(False)
    host, port = address = listener.getsockname()
    runner = web.AppRunner(web.Application())
    await runner.setup()
    endpoint = Endpoint(host, port, 60, 1000, "server", "public", inherited=[listener])
    site = Site(runner, endpoint, 60, Metrics().server.ports)
    await site.start()
    with ExitStack() as clients:  # the loop does not run until they are all connected
        waiting = [clients.enter_context(socket.create_connection(address, timeout=LIMIT)) for _ in range(200)]
        await site.stop()
        for client in waiting:
            client.send(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert {await asyncio.to_thread(client.recv, 12) for client in waiting} == {b"HTTP/1.1 404"}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=LIMIT)
    await runner.cleanup()


async def test_a_failure_outside_of_the_dispatch_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    async with site(fail) as url, connect(url) as connection:
        await connection.get("/")
        assert (await connection.read_head()).status == 500
    assert "request could not be handled" in caplog.text
    assert "RuntimeError: a bug" in caplog.text


async def test_a_client_gets_the_place_of_the_oldest_connection_without_a_request() -> None:
    released = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await released.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    metrics = Metrics()
    endpoint = Endpoint("127.0.0.1", 0, 3600, 3, "admin", "admin", closes_idle=True)
    site = Site(runner, endpoint, 3600, metrics.server.ports)
    await site.start()
    async with AsyncExitStack() as clients:
        clients.push_async_callback(runner.cleanup)
        clients.callback(released.set)
        opened = [await clients.enter_async_context(connect(site.name)) for _ in range(2)]
        silent, slow = opened
        await slow.get("/slow")
        await silent.send(b"GET /begun HTTP/1.1\r\n")
        kept = await clients.enter_async_context(connect(site.name))
        await kept.get("/kept")
        assert (await kept.read_head()).status == 200
        async with connect(site.name) as new:
            assert await silent.read_rest() == b""
            await kept.get("/kept")  # it is not closed: the oldest one was
            assert (await kept.read_head()).status == 200
            await new.get("/new")
            assert (await new.read_head()).status == 200
            released.set()
            assert (await slow.read_head()).status == 200
        assert metrics.registry.get_sample_value("image_gateway_accept_pauses_total", {"port": "admin"}) == 0


async def test_a_burst_of_silent_connections_does_not_keep_a_probe_of_the_admin_port_waiting(
    serving: Callable[..., Any],
) -> None:
    async with serving(grace=0) as ports, AsyncExitStack() as clients:
        silent = [await clients.enter_async_context(connect(ports.admin)) for _ in range(60)]
        async with aiohttp.ClientSession() as session:
            assert await fetch(session, ports.admin + "/healthz")
        started = time.monotonic()
        for connection in silent:
            assert await connection.read_rest() == b""
        assert time.monotonic() - started < LIMIT  # and not the 130 s of the public port


_WITHOUT_C_PARSER = """
import asyncio
import gc
import itertools
from gateway.server.listener import PurePythonParser, listening
async def main():
    try:
        async with listening(None, None, 1, None, None):
            pass
    except PurePythonParser as error:
        print(error)
asyncio.run(main())
"""


async def test_the_pure_python_parser_is_refused() -> None:
    """It reads hostile requests differently from the one in C."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _WITHOUT_C_PARSER,
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert b"C extensions" in output


async def test_trailers_without_an_end_are_read_no_further_than_a_header(serving: Callable[..., Any]) -> None:
    """aiohttp would read them for the five seconds in which it discards the body of an answered request."""
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    trailer = b"X-a: " + b"a" * 1000 + b"\r\n"
    async with serving() as ports:
        with no_collector():
            for port, is_answered in itertools.product((ports.public, ports.admin), (True, False)):
                async with connect(port) as connection:
                    client: socket.socket = connection.writer.get_extra_info("socket")
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
                    if is_answered:
                        await connection.send(head)
                        assert (await connection.read_head()).status == 200
                    else:
                        await connection.send(head + trailer * 200)
                    sent = 0
                    with suppress(ConnectionError):
                        async with asyncio.timeout(LIMIT):
                            while sent < 4_000_000:
                                await connection.send(trailer)
                                sent += len(trailer)
                    assert sent < 2_000_000, (port, is_answered)
            held = [error for error in gc.get_objects() if isinstance(error, HttpProcessingError)]
            assert held == [], "the bytes stay in memory until the next full collection"


async def test_a_head_or_trailers_of_96_kb_are_refused_and_a_head_of_56_kb_is_not(serving: Callable[..., Any]) -> None:
    end, line = b"HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X-a: \xf0\x9f\x98\x80" + b"a" * 8000 + b"\r\n"
    get = b"GET /healthz " + end
    post = b"POST /api/v1/images/urls " + end + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    async with serving() as ports:
        for port, begin, status in ((ports.public, get, 200), (ports.admin, get, 200), (ports.public, post, 400)):
            received = await exchange(port, begin + line * 7 + b"\r\n" + begin + line * 12)
            assert statuses(received) == [status, 400]


async def test_of_the_requests_behind_another_few_are_read_before_their_turn() -> None:
    released = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await released.wait()
        return web.Response()

    head = b" HTTP/1.1\r\nHost: gateway\r\n" + (b"X-a: " + b"a" * 8000 + b"\r\n") * 7 + b"\r\n"
    async with site(answer) as url, connect(url) as connection:
        connection.writer.write(b"GET /slow" + head + (b"GET /next" + head) * 30)
        for _ in range(1000):  # turns of the loop: a server that reads on reads in each of them
            await asyncio.sleep(0)
        kept = [each for each in gc.get_objects() if isinstance(each, RawRequestMessage) and each.path == "/next"]
        assert 1 <= len(kept) <= 3
        released.set()
        assert [(await connection.read_head()).status for _ in range(31)] == [200] * 31


async def test_of_what_follows_a_malformed_request_nothing_is_kept_while_the_one_before_is_answered(
    serving: Callable[..., Any], images: Images
) -> None:
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=Hang(), times=None))
    async with serving() as ports, connect(ports.public) as connection:
        await connection.get("/i/cat")
        await until_asked(images.cos, KEY)
        async with asyncio.timeout(LIMIT):
            for _ in range(100):  # more than the buffers of the kernel hold
                await connection.send(b"not a request\r\n" * 6000)
        kept = [error for error in gc.get_objects() if isinstance(error, HttpProcessingError)]
        assert len(kept) == 1


async def test_a_client_that_has_shut_down_its_side_gets_its_answers_and_then_the_end(
    serving: Callable[..., Any], images: Images
) -> None:
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=Drip(size=len(DATA) // 10, every=0.02)))
    async with serving() as ports, connect(ports.public) as connection:
        await connection.get("/i/cat")
        await connection.get("/healthz")
        connection.writer.write_eof()
        assert await connection.read_body(await connection.read_head()) == DATA
        assert (await connection.read_head()).status == 200
        await connection.read_rest()


async def test_a_client_that_has_left_is_not_answered_for_long(
    serving: Callable[..., Any], images: Images, raw_settings: RawSettings
) -> None:
    raw_settings.setdefault("image_proxy", {})["timeout"] = 2 * LIMIT  # not what ends the request
    await images.add("cat", DATA)
    images.cos.faults.add(Fault(key=KEY, action=Hang(), times=None))
    async with serving() as ports:
        async with connect(ports.public) as connection:
            await connection.get("/i/cat")
            await until_asked(images.cos, KEY)
        await until(lambda: all(seen.client_left for seen in images.cos.request_log.of(KEY)))


@pytest.mark.parametrize("client_leaves", [True, False])
async def test_what_a_request_uses_is_open_until_the_request_has_ended(
    raw_settings: RawSettings, client_leaves: bool
) -> None:
    """Otherwise a request goes on that nobody waits for, and opens connections that nobody closes."""
    uses: list[str] = []

    def extend(service: Service, app: web.Application) -> None:
        async def slow(_request: web.Request) -> web.Response:
            try:
                return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
            finally:
                uses.append("begun")
                await asyncio.sleep(0.2)  # while it cleans up
                await service.stores.catalog.probe()
                uses.append("ended")

        app.router.add_get("/slow", slow)

    settings = Settings.model_validate(raw_settings | {"server": raw_settings["server"] | {"shutdown_grace": 0}})
    others = asyncio.all_tasks()
    async with AsyncExitStack() as client:
        async with serve_service(settings, Metrics(), extend=extend) as running:
            connection = await client.enter_async_context(connect(running.ports.public))
            await connection.get("/slow")
            await until(lambda: running.service.requests.in_flight.requests, what="the request")
            if client_leaves:
                await client.aclose()
                await until(lambda: uses)
        assert uses == ["begun", "ended"]
        assert asyncio.all_tasks() == others
