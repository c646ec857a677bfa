"""The emulator as a server with its own socket."""

import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway_dev.cos_emulator.access import Access, Credentials
from gateway_dev.cos_emulator.control import CONTROL_PREFIX, Control
from gateway_dev.cos_emulator.delivery import set_length_of_not_modified
from gateway_dev.cos_emulator.faults import Faults
from gateway_dev.cos_emulator.http_service import HttpService
from gateway_dev.cos_emulator.imaging import ImageProcessor
from gateway_dev.cos_emulator.processed_answers import ProcessedAnswers, Processing
from gateway_dev.cos_emulator.request_log import RequestLog
from gateway_dev.cos_emulator.service import CosService
from gateway_dev.cos_emulator.store import ObjectStore


class CosEmulator(HttpService):
    """Emulator on a socket: ``async with CosEmulator(store, credentials) as cos`` serves until the block ends.

    It can be entered again, on the same port if ``port`` is not 0, which simulates an outage of COS. ``HttpService``
    describes further options, which are attributes to be set before it is entered.

    default_bucket: the bucket of hosts that name no bucket (an IP address, a custom domain).
    force_download: behave as default domains of buckets made since 2024-01-01.
    skew_tolerance: how many seconds in the future a signature may start. COS documents no value.
    now: clock in Unix seconds.
    """

    shutdown_timeout = 1.0

    def __init__(
        self,
        store: ObjectStore,
        credentials: Credentials,
        *,
        port: int = 0,
        default_bucket: str | None = None,
        force_download: bool = False,
        skew_tolerance: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.credentials = credentials
        self.requested_port = port
        self.faults = Faults()
        self.request_log = RequestLog()
        self.processing = Processing()
        self._default_bucket = default_bucket
        self._force_download = force_download
        self._skew_tolerance = skew_tolerance
        self._now = now

    def app(self) -> web.Application:
        images = ImageProcessor()
        service = CosService(
            store=self.store,
            access=Access(self.credentials, self._now, self._skew_tolerance),
            faults=self.faults,
            request_log=self.request_log,
            processed_answers=ProcessedAnswers(images, self.processing),
            default_bucket=self._default_bucket,
            force_download=self._force_download,
            now=self._now,
        )

        @web.middleware
        async def cos(request: web.Request, handler: Handler) -> web.StreamResponse:
            # Only control addresses are routed: the router would decode and normalise object paths.
            return await (handler if request.raw_path.startswith(CONTROL_PREFIX) else service.answer)(request)

        async def stop(_app: web.Application) -> None:
            service.stopping.set()

        async def close(_app: web.Application) -> None:
            await images.close()

        app = web.Application(middlewares=[cos])
        Control(self.faults, self.request_log, self.processing).add_routes(app)
        app.on_response_prepare.append(set_length_of_not_modified)
        app.on_shutdown.append(stop)
        app.on_cleanup.append(close)
        return app
