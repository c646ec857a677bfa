"""An application of a test on a free port."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from gateway.access.client_address import ClientAddress
from gateway.server.dispatch import Accounting, Dispatch, InFlight
from gateway.server.request_log import RequestLog
from gateway.service.metrics import Metrics
from gateway.settings import Live, LoggingSettings, ServerSettings


@asynccontextmanager
async def serving(
    app: web.Application, prepare: Callable[[web.AppRunner], None] | None = None, **options: Any
) -> AsyncIterator[str]:
    """Serve ``app``; yield its address, without a slash at the end.

    ``prepare`` gets the runner before it listens, such as ``dispatched`` returns; ``options`` are those of the runner.
    """
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        if prepare is not None:
            prepare(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def dispatched(
    metrics: Metrics, client_address: ClientAddress | None = None, request_log: RequestLog | None = None
) -> Callable[[web.AppRunner], None]:
    """Return what lets the gateway's dispatch handle the requests of a runner."""
    log = request_log or RequestLog(io.StringIO(), Live(LoggingSettings(access=False)))
    accounting = Accounting(metrics.server, client_address or ClientAddress(Live(ServerSettings())), log)

    def install(runner: web.AppRunner) -> None:
        assert runner.server is not None
        Dispatch(InFlight(metrics.server.inflight_requests), accounting).take_over(runner.server, runner.app)

    return install
