"""The life of both ports: listen, serve, drain, close."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import http_parser, web

from gateway.api.app_keys import HEALTH, IN_FLIGHT, METRICS, RELOADER, SETTINGS, TRACING
from gateway.concurrency.in_flight import InFlight
from gateway.net.ip_address import is_loopback
from gateway.net.port import cannot_listen
from gateway.server.connection import ADMIN_KEEPALIVE, Site
from gateway.server.connection_reset import reset
from gateway.server.dispatch import install_dispatch
from gateway.server.file_limit import connection_budget
from gateway.server.traced_dispatch import TracedDispatch

logger = logging.getLogger(__name__)

_CLEANUP_TIMEOUT = 1.0  # seconds for aiohttp's own shutdown, which follows the drain
_POLL_INTERVAL = 0.02  # seconds
# Seconds without a request after which the remaining connections are regarded as idle and closed. A request that a
# client sends at the moment of the close fails.
_QUIET = 1.0


class PurePythonParser(RuntimeError):
    """aiohttp's C parser is missing; the pure Python one reads hostile requests differently."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The URLs of the two ports, without a trailing slash."""

    public: str
    admin: str


@asynccontextmanager
async def listening(
    app: web.Application,
    create_admin_app: Callable[[web.Application], web.Application],
    force_stop: asyncio.Event | None = None,
    *,
    inherited: Sequence[socket.socket] = (),
    inherited_admin: Sequence[socket.socket] = (),
) -> AsyncIterator[Listening]:
    """Serve ``app`` and its admin port; on exit, drain for at most ``shutdown_grace`` seconds, then close everything.

    The public port is that of the ``inherited`` sockets, or ``server.host`` and ``server.port`` without any; the same
    holds for the admin port.
    Setting ``force_stop`` ends the drain at once. Raises ``CannotListen``, ``PurePythonParser``, and the errors
    of components that do not open.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise PurePythonParser("aiohttp was installed without its C extensions; install it from a wheel")
    server, admin = app[SETTINGS].server, app[SETTINGS].admin
    if admin.token is None and not inherited_admin and not is_loopback(admin.host):
        logger.warning("the admin port is reachable from outside and admin.token is not set: admin.host=%s", admin.host)

    site = partial(Site, stall_timeout=app[SETTINGS].image_proxy.timeout, metrics=app[METRICS].ports)
    budget = connection_budget(server.max_streams, app[SETTINGS].postgres.pool_size)
    async with _runner(app, handler_cancellation=True) as public_runner:
        # The admin port shows components that only the public runner's setup opens.
        async with _runner(create_admin_app(app), handler_cancellation=False) as admin_runner:
            public = site(
                public_runner,
                server.host,
                server.port,
                reuse_port=server.reuse_port,
                inherited=inherited,
                keepalive_timeout=server.keepalive_timeout,
                max_connections=budget.public,
                port_label="public",
            )
            with cannot_listen("server", server.host, server.port):
                await public.start()
            private = site(
                admin_runner,
                admin.host,
                admin.port,
                inherited=inherited_admin,
                keepalive_timeout=min(ADMIN_KEEPALIVE, server.keepalive_timeout),
                closes_idle=True,
                max_connections=budget.admin,
                port_label="admin",
            )
            with cannot_listen("admin", admin.host, admin.port):
                await private.start()
            yield Listening(public.url, private.url)
            await _drain(app, public_runner, force_stop or asyncio.Event())


@asynccontextmanager
async def _runner(app: web.Application, *, handler_cancellation: bool) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=handler_cancellation,
        shutdown_timeout=_CLEANUP_TIMEOUT,
    )
    try:
        await runner.setup()
        install_dispatch(runner, TracedDispatch if TRACING in app else None)
        yield runner
    finally:
        await runner.cleanup()


async def _drain(app: web.Application, runner: web.AppRunner, force_stop: asyncio.Event) -> None:
    """Report not ready, finish the requests in flight, close the port, finish the requests that arrived meanwhile.

    The port stays open at first, so that load balancers see the 503 of ``/readyz`` instead of a refused connection.
    After that each response closes its connection (RFC 9112 section 9.6), and idle connections are closed last.
    """
    in_flight = app[IN_FLIGHT]
    newest = in_flight.started
    app[HEALTH].drain()
    logger.info("draining")
    deadline = time.monotonic() + app[RELOADER].settings.server.shutdown_grace

    def is_over() -> bool:
        return force_stop.is_set() or time.monotonic() >= deadline

    await _wait_until(lambda: not in_flight.any_before(newest), is_over)
    for site in list(runner.sites):
        await site.stop()
    in_flight.closes_connections = True
    await _wait_until_quiet(in_flight, runner, is_over)
    if runner.server is not None:
        runner.server.pre_shutdown()  # no further request on kept-alive connections
    if not await _wait_until(lambda: not in_flight.any() and not _with_unsent_bytes(runner), is_over):
        reason = "second signal to stop" if force_stop.is_set() else "shutdown_grace is over"
        logger.warning("%s: aborting the requests still in flight", reason)
        # Other connections are closed in order: the kernel may still be sending complete responses on them.
        for transport in in_flight.open_transports() + _with_unsent_bytes(runner):
            reset(transport)


async def _wait_until_quiet(in_flight: InFlight, runner: web.AppRunner, is_over: Callable[[], bool]) -> None:
    """Wait until no connection is open, or no request has come for ``_QUIET`` seconds and none is in flight."""
    newest, since = in_flight.started, time.monotonic()

    def is_quiet() -> bool:
        nonlocal newest, since
        if in_flight.started != newest or in_flight.any():
            newest, since = in_flight.started, time.monotonic()
        return not _connections(runner) or time.monotonic() - since >= _QUIET

    await _wait_until(is_quiet, is_over)


def _connections(runner: web.AppRunner) -> list[web.RequestHandler]:
    return runner.server.connections if runner.server is not None else []


def _with_unsent_bytes(runner: web.AppRunner) -> list[asyncio.Transport]:
    """Return the connections that still have bytes of finished responses to send."""
    transports = [connection.transport for connection in _connections(runner)]
    return [transport for transport in transports if transport is not None and transport.get_write_buffer_size() > 0]


async def _wait_until(condition: Callable[[], bool], is_over: Callable[[], bool]) -> bool:
    """Wait until ``condition`` or ``is_over`` is true; return whether it was ``condition``."""
    while not condition():
        if is_over():
            return False
        await asyncio.sleep(_POLL_INTERVAL)
    return True
