"""Both ports, from the first request to the last byte of the last one."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import http_parser, web

from gateway.api.app_keys import HEALTH, IN_FLIGHT, METRICS, SETTINGS
from gateway.ip_address import is_loopback
from gateway.server.connection import Site
from gateway.server.connection_reset import reset
from gateway.server.dispatch import install_dispatch
from gateway.server.file_limit import connection_budget

logger = logging.getLogger(__name__)

# By the time the runners clean up, what could finish has finished.
_CLEANUP_TIMEOUT = 1.0
_POLL = 0.02


class CannotListen(OSError):
    """A port cannot be had; the words name the keys that say which."""


class PurePythonParser(RuntimeError):
    """aiohttp's C parser is missing; the pure Python one reads hostile requests differently."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the two ports are, as URLs without a slash at the end."""

    public: str
    admin: str


@asynccontextmanager
async def listening(
    app: web.Application,
    create_admin_app: Callable[[web.Application], web.Application],
    force_stop: asyncio.Event | None = None,
) -> AsyncIterator[Listening]:
    """Serve ``app`` and its admin port. At the end, drain within ``shutdown_grace`` seconds, then close everything.

    Once ``force_stop`` is set, nothing is waited for any more.
    Raises ``CannotListen``, ``PurePythonParser``, and what opening the parts raises.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise PurePythonParser("aiohttp was installed without its C extensions; install it from a wheel")
    server, admin = app[SETTINGS].server, app[SETTINGS].admin
    if admin.token is None and not is_loopback(admin.host):
        logger.warning("the admin port is reachable from outside and admin.token is not set: admin.host=%s", admin.host)

    site = partial(
        Site,
        keepalive_timeout=server.keepalive_timeout,
        unread_timeout=app[SETTINGS].image_proxy.timeout,
        metrics=app[METRICS],
    )
    budget = connection_budget(server.max_streams, app[SETTINGS].postgres.pool_size)
    async with _runner(app, handler_cancellation=True) as public_runner:
        # Only now is what the admin port shows open.
        async with _runner(create_admin_app(app), handler_cancellation=False) as admin_runner:
            public = site(
                public_runner,
                server.host,
                server.port,
                reuse_port=server.reuse_port,
                most=budget.public,
                label="public",
            )
            with _named("server", server.host, server.port):
                await public.start()
            private = site(admin_runner, admin.host, admin.port, most=budget.admin, label="admin")
            with _named("admin", admin.host, admin.port):
                await private.start()
            yield Listening(public.url, private.url)
            await _drain(app, public_runner, force_stop or asyncio.Event())


@contextmanager
def _named(section: str, host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        keys = f"{section}.host and {section}.port"
        raise CannotListen(f"{keys}: cannot listen on {host}:{port}: {error.strerror or error}") from error


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
        install_dispatch(runner)
        yield runner
    finally:
        await runner.cleanup()


async def _drain(app: web.Application, runner: web.AppRunner, force_stop: asyncio.Event) -> None:
    """Not ready first; the port stays open until what was in flight has finished, so that balancers see the 503 of
    ``/readyz`` and not a refused connection. Then the port closes, and what came meanwhile may finish, too.
    """
    in_flight = app[IN_FLIGHT]
    newest = in_flight.started
    app[HEALTH].drain()
    logger.info("draining")
    deadline = time.monotonic() + app[SETTINGS].server.shutdown_grace

    def is_over() -> bool:
        return force_stop.is_set() or time.monotonic() >= deadline

    await _until(lambda: not in_flight.any_before(newest), is_over)
    for site in list(runner.sites):
        await site.stop()
    if runner.server is not None:
        runner.server.pre_shutdown()  # a kept-alive connection takes no further request
    if not await _until(lambda: not in_flight.any() and not _with_unsent_bytes(runner), is_over):
        why = "told to stop again" if force_stop.is_set() else "shutdown_grace is over"
        logger.warning("%s: the requests still in flight are cut", why)
        # Not the others: what the kernel holds for them are whole answers.
        for transport in in_flight.open_transports() + _with_unsent_bytes(runner):
            reset(transport)


def _with_unsent_bytes(runner: web.AppRunner) -> list[asyncio.Transport]:
    """Connections on which bytes of finished answers still wait for their clients to take them."""
    connections = runner.server.connections if runner.server is not None else []
    transports = [connection.transport for connection in connections]
    return [transport for transport in transports if transport is not None and transport.get_write_buffer_size() > 0]


async def _until(condition: Callable[[], bool], is_over: Callable[[], bool]) -> bool:
    """Wait for ``condition``, at the longest until ``is_over``; whether it came true."""
    while not condition():
        if is_over():
            return False
        await asyncio.sleep(_POLL)
    return True
