"""Both ports, from the first request to the last byte of the last one."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import http_parser, web

from gateway.api.keys import HEALTH, IN_FLIGHT, SETTINGS

logger = logging.getLogger(__name__)

# nginx closes an idle connection to an upstream after 60 s (keepalive_timeout, ngx_http_upstream_module): the gateway
# must not do so first. aiohttp's own hour would also be the time a client may take over its headers.
_KEEPALIVE = 75.0
# By the time the runners clean up, what could finish has finished.
_CLEANUP_TIMEOUT = 1.0
_POLL = 0.02


class PurePythonParser(RuntimeError):
    """aiohttp's C parser is missing; the pure Python one reads hostile requests differently."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the two ports are, as URLs without a slash at the end."""

    public: str
    admin: str


@asynccontextmanager
async def listening(
    app: web.Application, create_admin_app: Callable[[web.Application], web.Application]
) -> AsyncIterator[Listening]:
    """Serve ``app`` and its admin port. At the end, drain within ``shutdown_grace`` seconds, then close everything.

    Raises ``OSError`` when a port cannot be had, ``PurePythonParser``, and what opening the parts raises.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise PurePythonParser("aiohttp was installed without its C extensions; install it from a wheel")
    server, admin = app[SETTINGS].server, app[SETTINGS].admin
    async with _runner(app, handler_cancellation=True) as public_runner:
        # Only now is what the admin port shows open.
        async with _runner(create_admin_app(app), handler_cancellation=False) as admin_runner:
            public = await _listen(public_runner, server.host, server.port, reuse_port=server.reuse_port)
            yield Listening(public, await _listen(admin_runner, admin.host, admin.port, reuse_port=False))
            await _drain(app, public_runner)


@asynccontextmanager
async def _runner(app: web.Application, *, handler_cancellation: bool) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=handler_cancellation,
        keepalive_timeout=_KEEPALIVE,
        shutdown_timeout=_CLEANUP_TIMEOUT,
    )
    try:
        await runner.setup()
        yield runner
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int, *, reuse_port: bool) -> str:
    site = web.TCPSite(runner, host, port, reuse_port=reuse_port or None)
    await site.start()
    # Port 0 asks for any free one, so the number is known only now.
    bound = next(address[1] for address in runner.addresses)
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{bound}"


async def _drain(app: web.Application, runner: web.AppRunner) -> None:
    """Not ready first; the port stays open until what was in flight has finished, so that balancers see the 503 of
    ``/readyz`` and not a refused connection. Then the port closes, and what came meanwhile may finish, too.
    """
    in_flight = app[IN_FLIGHT]
    mark = in_flight.mark()
    app[HEALTH].drain()
    logger.info("draining")
    deadline = time.monotonic() + app[SETTINGS].server.shutdown_grace
    await _until(lambda: not in_flight.any_before(mark), deadline)
    for site in list(runner.sites):
        await site.stop()
    if runner.server is not None:
        runner.server.pre_shutdown()  # a kept-alive connection takes no further request
    if not await _until(lambda: not in_flight.any() and not _unsent(runner), deadline):
        logger.warning("shutdown_grace is over: the requests still in flight are cut")


def _unsent(runner: web.AppRunner) -> bool:
    """Whether bytes of finished answers still wait for their clients to take them."""
    connections = runner.server.connections if runner.server is not None else []
    transports = [connection.transport for connection in connections]
    return any(transport is not None and transport.get_write_buffer_size() > 0 for transport in transports)


async def _until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait for ``condition``, at the longest until ``deadline`` (monotonic seconds); whether it came true."""
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL)
    return True
