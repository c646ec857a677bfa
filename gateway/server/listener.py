"""The life of both ports: listen, serve, drain, close."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import http_parser, web

from gateway.server.acceptor import Endpoint, Site
from gateway.server.dispatch import Dispatch, InFlight
from gateway.server.metrics import PortMetrics
from gateway.server.slow_clients import reset

logger = logging.getLogger(__name__)

_CLEANUP_TIMEOUT = 1.0  # seconds for aiohttp's own shutdown, which follows the drain
_POLL_INTERVAL = 0.02  # seconds
# Seconds without a request after which the remaining connections are regarded as idle and closed. A request that a
# client sends at the moment of the close fails.
_QUIET = 1.0


class PurePythonParser(RuntimeError):
    """aiohttp's C parser is missing. The pure Python parser reads hostile requests differently."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The URLs at which the public and the admin port listen, without a trailing slash."""

    public: str
    admin: str


@dataclass(frozen=True, slots=True)
class Port:
    """One of the two ports, public or admin, before it opens.

    dispatch: handles all requests, most of them by ``app``.
    handler_cancellation: a handler is cancelled when its client leaves.
    """

    app: web.Application
    dispatch: Dispatch
    endpoint: Endpoint
    handler_cancellation: bool = False


@dataclass(frozen=True, slots=True)
class Drain:
    """The callbacks of a stop: ``begin`` fails readiness, ``grace`` returns how many seconds open requests may take."""

    in_flight: InFlight
    begin: Callable[[], None]
    grace: Callable[[], float]


@asynccontextmanager
async def listening(
    public: Port,
    admin: Port,
    stall_timeout: float,
    metrics: PortMetrics,
    drain: Drain,
    force_stop: asyncio.Event | None = None,
) -> AsyncIterator[Listening]:
    """Serve both ports. On exit, drain, then close everything. Setting ``force_stop`` ends the drain at once.

    A client that stalls for ``stall_timeout`` seconds is disconnected. Raises ``CannotListen`` if a port is not
    available, and ``PurePythonParser`` if aiohttp would parse requests without its C extension.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise PurePythonParser("aiohttp was installed without its C extensions; install it from a wheel")
    try:
        async with (
            _serving(public, stall_timeout, metrics) as (runner, public_url),
            _serving(admin, stall_timeout, metrics) as (_, admin_url),
        ):
            yield Listening(public_url, admin_url)
            await _drain(drain, runner, force_stop or asyncio.Event())
    finally:
        await _end(drain.in_flight)


async def _end(in_flight: InFlight) -> None:
    """Wait for the requests that the drain aborted, or whose clients have left: aiohttp does not know them any more.

    What they use is closed after this, and a command to Redis in flight then would open a connection anew.
    """
    tasks = {request.task for request in in_flight.requests.values()}
    for task in tasks:
        if not task.cancelling():
            task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CLEANUP_TIMEOUT)


@asynccontextmanager
async def _serving(port: Port, stall_timeout: float, metrics: PortMetrics) -> AsyncIterator[tuple[web.AppRunner, str]]:
    runner = web.AppRunner(
        port.app, access_log=None, handler_cancellation=port.handler_cancellation, shutdown_timeout=_CLEANUP_TIMEOUT
    )
    try:
        await runner.setup()
        assert runner.server is not None, "set up"  # noqa: S101
        port.dispatch.take_over(runner.server, port.app)
        site = Site(runner, port.endpoint, stall_timeout, metrics, port.dispatch.at_once)
        await site.start()
        yield runner, site.name
    finally:
        await runner.cleanup()


@dataclass(slots=True, eq=False)
class _Draining:
    """What is still in flight of a server that stops, until the deadline or ``force_stop``."""

    in_flight: InFlight
    server: web.Server
    deadline: float
    force_stop: asyncio.Event
    _newest: int = -1
    _looks: int = 0

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Return whether the condition has become true in time. It is looked at every ``_POLL_INTERVAL``."""
        while not condition():
            if self.force_stop.is_set() or time.monotonic() >= self.deadline:
                return False
            await asyncio.sleep(_POLL_INTERVAL)
        return True

    def look(self) -> bool:
        """Return whether no connection is open, or for ``_QUIET`` seconds no request has come or was in flight.

        Seconds in which the loop did not run, and has read no request, do not count.
        """
        self._looks += 1
        if self.in_flight.started != self._newest or self.in_flight.requests:
            self._newest, self._looks = self.in_flight.started, 0
        return not self.server.connections or self._looks * _POLL_INTERVAL >= _QUIET

    def unsent(self) -> list[asyncio.Transport]:
        """Return the connections that still have bytes of finished responses to send."""
        transports = [connection.transport for connection in self.server.connections]
        return [transport for transport in transports if transport is not None and transport.get_write_buffer_size()]


async def _drain(drain: Drain, runner: web.AppRunner, force_stop: asyncio.Event) -> None:
    """Report not ready, finish the requests in flight, close the port, finish the requests that arrived meanwhile.

    The port stays open at first, so that load balancers see the 503 of ``/readyz`` instead of a refused connection.
    After that each response closes its connection (RFC 9112 section 9.6), and idle connections are closed last.
    """
    in_flight, server = drain.in_flight, runner.server
    assert server is not None, "the port was served"  # noqa: S101
    newest = in_flight.started
    drain.begin()
    logger.info("draining")
    draining = _Draining(in_flight, server, time.monotonic() + drain.grace(), force_stop)
    await draining.until(lambda: min(in_flight.requests, default=newest + 1) > newest)
    for site in list(runner.sites):
        await site.stop()
    in_flight.closes_connections = True
    await draining.until(draining.look)
    server.pre_shutdown()  # no further request on kept-alive connections
    if not await draining.until(lambda: not in_flight.requests and not draining.unsent()):
        reason = "second signal to stop" if force_stop.is_set() else "shutdown_grace is over"
        logger.warning("%s: aborting the requests still in flight", reason)
        # Other connections are closed in order: the kernel may still be sending complete responses on them.
        for transport in [*(request.transport for request in in_flight.requests.values()), *draining.unsent()]:
            reset(transport)
