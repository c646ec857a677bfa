"""Request dispatch: ids, errors, outcomes, metrics."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from gateway.access.client_address import ClientAddress
from gateway.delivery.relay import ClientLeft, RelayAborted
from gateway.delivery.request_context import current_request_id
from gateway.errors import CatalogUnavailable, ImageNotFound, OriginUnavailable
from gateway.server.request_log import RequestLog
from gateway.service.metrics import Metrics
from gateway.settings import Live, LoggingSettings, ServerSettings
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.raw_client import RawConnection, connect
from tests.serving import dispatched, serving
from tests.waiting import until, until_counted

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[str]]
ANY_PEER = ClientAddress(Live(ServerSettings()))


@pytest.fixture
async def serve(metrics: Metrics) -> AsyncIterator[Serve]:
    """Serve a handler through the dispatch at ``/``, and one that returns 200 at ``/ok``; returns the URL."""
    stack = AsyncExitStack()

    async def ok(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def start(
        handler: Handle, client_address: ClientAddress = ANY_PEER, request_log: RequestLog | None = None
    ) -> str:
        app = web.Application()
        app.router.add_get("/", handler, name="under_test")
        app.router.add_get("/ok", ok, name="ok")
        return await stack.enter_async_context(
            serving(app, dispatched(metrics, client_address, request_log), handler_cancellation=True)
        )

    async with stack:
        yield start


def counted(metrics: Metrics, status: str) -> float:
    """Return the number of requests under test with this status."""
    labels = {"route": "under_test", "delivery": "none", "status": status}
    return metrics.registry.get_sample_value("image_gateway_requests_total", labels) or 0.0


async def until_ended(metrics: Metrics, status: str) -> None:
    """Return when a request under test has ended with ``status``."""
    labels = {"route": "under_test", "delivery": "none", "status": status}
    await until_counted(metrics.registry, "requests_total", **labels)


async def send_two_requests(connection: RawConnection) -> None:
    """Send two requests at once."""
    await connection.get("/")
    await connection.get("/ok")


@pytest.mark.parametrize(
    ("error", "status", "code", "level"),
    [
        (ImageNotFound("not the caller's"), 404, b"image_not_found", "info"),
        (CatalogUnavailable("refused"), 503, b"catalog_unavailable", "error"),
        (web.HTTPNotFound(), 404, b"not_found", "info"),
        (web.HTTPBadRequest(text="<script>"), 400, b"invalid_request", "info"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, b"method_not_allowed", "info"),
        (RuntimeError("secret"), 500, b"internal_error", "error"),
    ],
)
@pytest.mark.parametrize("is_on", [False, True])
async def test_every_error_becomes_a_json_error_with_its_status_and_code(
    serve: Serve,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    code: bytes,
    level: str,
    is_on: bool,
) -> None:
    lines = io.StringIO()
    log = RequestLog(lines, Live(LoggingSettings(access=is_on)))

    async def fail(request: web.Request) -> web.StreamResponse:
        raise error

    async with connect(await serve(fail, request_log=log)) as connection:
        await send_two_requests(connection)
        head = await connection.read_head()
        body = await connection.read_body(head)
        assert (await connection.read_head()).status == 200, "the connection stays good"
    assert head.status == status
    assert code in body
    assert b"secret" not in body
    assert b"<script>" not in body
    assert counted(metrics, str(status)) == 1
    assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 0
    log.flush()
    failed = [line for line in map(json.loads, lines.getvalue().splitlines()) if line["status"] == status]
    assert [line["level"] for line in failed] == ([level] if is_on or level == "error" else [])
    assert ("Traceback" in lines.getvalue()) == (status == 500)
    assert [record for record in caplog.records if record.name.startswith("gateway")] == [], "there is no other line"


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (RelayAborted("after 10 bytes"), "aborted", "after 10 bytes"),
        (ClientLeft("nothing was read"), "499", None),
        (OriginUnavailable("after the status"), "aborted", "after the status"),
        (ImageNotFound("after the status"), "aborted", "after the status"),
        (web.HTTPBadRequest(), "aborted", "Bad Request"),
        (RuntimeError("a bug"), "aborted", "a bug"),
    ],
)
@pytest.mark.parametrize("length", ["1000", None])
async def test_once_the_status_is_sent_no_error_is_rendered_into_the_body(
    serve: Serve, metrics: Metrics, error: Exception, outcome: str, reason: str | None, length: str | None
) -> None:
    lines = io.StringIO()
    log = RequestLog(lines, Live(LoggingSettings(access=False)))

    async def fail_late(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={} if length is None else {"Content-Length": length})
        await response.prepare(request)
        await response.write(b"x" * 100)
        raise error

    async with connect(await serve(fail_late, request_log=log)) as connection:
        await send_two_requests(connection)
        assert (await connection.read_head()).status == 200
        rest = await connection.read_rest()
    assert rest.strip(b"\r\n") in (b"", b"x" * 100, b"64\r\n" + b"x" * 100)
    await until_ended(metrics, outcome)
    assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 0
    log.flush()
    faults = [(line["level"], line["reason"]) for line in map(json.loads, lines.getvalue().splitlines())]
    assert faults == ([("error", reason)] if reason is not None else [])


async def test_a_request_whose_client_disconnects_is_counted_as_499(serve: Serve, metrics: Metrics) -> None:
    arrived = asyncio.Event()

    async def never_ending(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with connect(await serve(never_ending)) as connection:
        await connection.get("/")
        await asyncio.wait_for(arrived.wait(), LIMIT)
        assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 1
    await until_ended(metrics, "499")
    assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 0


async def test_the_log_lines_of_a_request_have_its_id(serve: Serve) -> None:
    seen: list[str] = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.append(current_request_id.get())
        return web.Response()

    async with connect(await serve(look)) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: request-42\r\n\r\n")
        assert (await connection.read_head()).headers["x-request-id"] == "request-42"
    assert seen == ["request-42"]
    assert current_request_id.get() == ""


async def test_every_response_has_the_request_id_and_its_duration(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat")
    for path in ("/i/cat", "/i/nothing", "/i/-", "/nowhere", "/healthz", "/api/v1/images/cat/url"):
        answer = await gateway.get(path, headers={"X-Request-Id": "request-42"})
        assert answer.headers["X-Request-Id"] == "request-42"
        timings = [value.partition(";dur")[0] for name, value in answer.headers.items() if name == "Server-Timing"]
        assert ("gateway" in timings) == (answer.status != 404), path
        assert answer.headers["Server"] == "image-gateway"
        again = await gateway.get(path, headers={"X-Request-Id": "bad id"})
        assert again.headers["X-Request-Id"] not in ("bad id", "request-42")
        assert again.status < 400 or again.json()["request_id"] == again.headers["X-Request-Id"]


async def test_the_access_log_has_the_client_address_that_a_trusted_proxy_forwards(
    access_lines: io.StringIO, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("cat")
    for trusted, client in (([], "127.0.0.1"), (["127.0.0.0/8"], "192.0.2.7")):
        gateway = await start_gateway(server={"trusted_proxies": trusted})
        for path in ("/i/cat", "/openapi.json", "/nowhere"):
            await gateway.get(path, headers={"X-Forwarded-For": "203.0.113.9, 192.0.2.7"})
            await until(access_lines.getvalue, what="the line")
            assert json.loads(access_lines.getvalue())["client"] == client
            access_lines.truncate(access_lines.seek(0))


@pytest.mark.parametrize("is_on", [False, True])
async def test_without_an_access_log_the_client_address_is_not_computed(serve: Serve, is_on: bool) -> None:
    addresses_of: list[str | None] = []

    class Recording(ClientAddress):
        def of(self, headers: Mapping[str, str], peer: str | None) -> str | None:
            addresses_of.append(peer)
            return super().of(headers, peer)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response()

    log = RequestLog(io.StringIO(), Live(LoggingSettings())) if is_on else None
    async with connect(await serve(answer, Recording(Live(ServerSettings())), log)) as connection:
        await connection.get("/")
        await connection.read_head()
    assert addresses_of == (["127.0.0.1"] if is_on else [])


async def test_requests_are_counted_and_timed_by_route_and_never_by_path(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("snowflake")
    await gateway.get("/i/snowflake")
    for path in ("/nowhere", "/elsewhere", "/i/snowflake/deeper"):
        await gateway.get(path)
    assert gateway.sample("requests_total", route="short", delivery="stream", status="200") == 1
    assert gateway.sample("requests_total", route="unmatched", delivery="none", status="404") == 3
    assert gateway.sample("request_duration_seconds_count", route="short") == 1
    assert gateway.sample("time_to_first_byte_seconds_count", route="short") == 1
    exposed = (await gateway.get("/metrics", admin=True)).body
    assert b"elsewhere" not in exposed
    assert b"snowflake" not in exposed


UPLOAD = b"POST /api/v1/images/urls HTTP/1.1\r\nHost: a\r\n"


BROKEN = (
    UPLOAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    UPLOAD + b"Content-Length: 100\r\n\r\n{",
    UPLOAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    UPLOAD + b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\nhello",
    UPLOAD + b"Expect: the unexpected\r\nContent-Length: 0\r\n\r\n",
)


async def test_a_broken_request_body_is_a_4xx(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    for raw in BROKEN:
        async with connect(gateway.ports.public) as connection:
            await connection.send(raw)
            connection.writer.write_eof()
            answer = await connection.read_rest()
        # aiohttp answers a request that ends before it is parsed in HTTP/1.0.
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), raw
    errors = [record.name for record in caplog.records if record.levelno >= logging.ERROR]
    assert not [name for name in errors if name.startswith("gateway")]
