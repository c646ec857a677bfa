"""The part that every request passes: its line in the access log, its spans, the picture of its error."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from gateway.delivery.fallback_picture import FallbackPicture
from gateway.metrics.history import BYTES_ROUTES
from gateway.metrics.loop_counters import ABORTED
from gateway.process.audit import AuditLog
from gateway.process.logs import DebugLog, worker_number
from gateway.server.dispatch import InFlight
from gateway.server.metrics import ServerMetrics
from gateway.server.request_log import RequestLog, stream_of_log
from gateway.settings import Live, LoggingSettings, Settings

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans

_FAILURES: Final = ("500", "502", "503", "504", ABORTED)
_DENIALS: Final = ("401", "403", "404")


class Requests:
    """The objects that handle every request. ``tracing`` and ``fallback`` are None unless configured."""

    def __init__(
        self, live: Live[Settings], metrics: ServerMetrics, tracing: "Spans | None", fallback: FallbackPicture | None
    ) -> None:
        settings, worker = live.map(lambda settings: settings.logging), worker_number()
        self.in_flight = InFlight(metrics.inflight_requests)
        self.request_log = RequestLog(stream_of_log(), settings, worker=worker)
        self.audit = AuditLog(settings, worker=worker, count_lost=metrics.audit_lines_lost.add)
        self.debug_log = DebugLog()
        self.tracing, self.fallback = tracing, fallback
        settings.watch(self._log_replaced)

    def _log_replaced(self, old: LoggingSettings, new: LoggingSettings) -> None:
        """Write the log from the new level on."""
        if new.level != old.level:
            self.debug_log.set_level(logging.getLevelNamesMapping()[new.level.upper()])


@asynccontextmanager
async def open_requests(live: Live[Settings], metrics: ServerMetrics, trace_spans: Counter) -> AsyncIterator[Requests]:
    """Open the access log and the exporter of spans. Raises ``SettingsError`` and ``UnusablePicture``."""
    settings = live.value
    async with await _tracing(settings, trace_spans) as tracing:
        picture = settings.image_proxy.fallback
        fallback = await asyncio.to_thread(FallbackPicture.read, picture.path, picture.statuses) if picture else None
        metrics.requests.start_at_zero(BYTES_ROUTES, {"none", settings.image_proxy.delivery}, _FAILURES)
        metrics.requests.start_at_zero((*BYTES_ROUTES, "access"), {"none"}, _DENIALS)
        requests = Requests(live, metrics, tracing, fallback)
        try:
            yield requests
        finally:
            requests.debug_log.stop()
            requests.request_log.flush()


async def _tracing(settings: Settings, trace_spans: Counter) -> "AbstractAsyncContextManager[Spans | None]":
    """Return what sends spans of requests and of their calls. It yields None unless ``tracing.enabled``."""
    if not settings.tracing.enabled:
        return nullcontext()
    # Imported here, as it needs the extra `otel`, and in a thread, as it reads some hundred files.
    exporter = await asyncio.to_thread(importlib.import_module, "gateway.tracing.exporter")
    opening: AbstractAsyncContextManager[Spans] = exporter.open_tracing(
        lambda result, spans: trace_spans.labels(result=result).inc(spans),
        redis=settings.redis.server(),
        postgres=settings.postgres.server(),
    )
    return opening
