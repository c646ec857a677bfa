"""The emulator as an aiohttp application, and as a server with its own socket."""

import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from gateway.cos_emulator.access import Access, Credentials
from gateway.cos_emulator.armed_faults import Faults
from gateway.cos_emulator.control import Control
from gateway.cos_emulator.delivery import set_length_of_not_modified
from gateway.cos_emulator.imaging import ImageProcessor
from gateway.cos_emulator.processed_answers import ProcessedAnswers
from gateway.cos_emulator.processing_options import Processing
from gateway.cos_emulator.request_log import RequestLog
from gateway.cos_emulator.service import CosService
from gateway.cos_emulator.store import ObjectStore


def create_cos_app(
    store: ObjectStore,
    credentials: Credentials,
    *,
    default_bucket: str | None = None,
    faults: Faults | None = None,
    request_log: RequestLog | None = None,
    processing: Processing | None = None,
    force_download: bool = False,
    skew_tolerance: float = 0.0,
    now: Callable[[], float] = time.time,
) -> web.Application:
    """Return the emulator as an application.

    ``default_bucket``: the bucket of hosts that name none (an IP address, a custom domain). ``force_download``: behave
    as default domains of buckets made since 2024-01-01. ``skew_tolerance``: seconds that a signature may start in the
    future; COS documents no value. ``now``: clock in Unix seconds.

    Give the runner ``handler_cancellation=True``, as ``CosEmulator`` does: a hanging answer then ends when its client
    disconnects.
    """
    faults = Faults() if faults is None else faults
    request_log = RequestLog() if request_log is None else request_log
    processing = Processing() if processing is None else processing
    images = ImageProcessor()
    service = CosService(
        store=store,
        access=Access(credentials, now, skew_tolerance),
        faults=faults,
        request_log=request_log,
        processed_answers=ProcessedAnswers(images, processing),
        default_bucket=default_bucket,
        force_download=force_download,
        now=now,
    )

    @web.middleware
    async def cos(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await service.dispatch(request, handler)

    async def stop(_app: web.Application) -> None:
        service.stopping.set()

    async def close(_app: web.Application) -> None:
        await images.close()

    app = web.Application(middlewares=[cos])
    Control(faults, request_log, processing).add_routes(app)
    app.on_response_prepare.append(set_length_of_not_modified)
    app.on_shutdown.append(stop)
    app.on_cleanup.append(close)
    return app


class CosEmulator:
    """Emulator on a socket: ``async with CosEmulator(store, credentials) as cos`` serves until the block ends.

    It can be entered again, on the same port if ``port`` is not 0, which simulates an outage of COS. ``host`` is a
    name or an IPv4 address. ``keepalive_timeout``: seconds that an idle connection stays open. ``shutdown_timeout``:
    seconds that answers in progress have to finish. ``create_cos_app`` describes the other options.
    """

    def __init__(
        self,
        store: ObjectStore,
        credentials: Credentials,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        default_bucket: str | None = None,
        faults: Faults | None = None,
        request_log: RequestLog | None = None,
        processing: Processing | None = None,
        force_download: bool = False,
        skew_tolerance: float = 0.0,
        now: Callable[[], float] = time.time,
        keepalive_timeout: float = 75.0,
        shutdown_timeout: float = 1.0,
    ) -> None:
        self.store = store
        self.credentials = credentials
        self.host = host
        self.faults = Faults() if faults is None else faults
        self.request_log = RequestLog() if request_log is None else request_log
        self.processing = Processing() if processing is None else processing
        self._requested_port = port
        self._default_bucket = default_bucket
        self._force_download = force_download
        self._skew_tolerance = skew_tolerance
        self._now = now
        self._keepalive_timeout = keepalive_timeout
        self._shutdown_timeout = shutdown_timeout
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """Port that the emulator listens on; raises RuntimeError outside the block."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the COS emulator is not running")
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        """``http://host:port``, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        app = create_cos_app(
            self.store,
            self.credentials,
            default_bucket=self._default_bucket,
            faults=self.faults,
            request_log=self.request_log,
            processing=self.processing,
            force_download=self._force_download,
            skew_tolerance=self._skew_tolerance,
            now=self._now,
        )
        # An access log would contain presigned URLs; the service logs the key instead.
        runner = web.AppRunner(
            app,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=self._keepalive_timeout,
            shutdown_timeout=self._shutdown_timeout,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self._requested_port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
