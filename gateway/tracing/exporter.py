"""The export of spans over OTLP, which the standard OTEL_* variables configure.

A thread of the SDK sends batches from a queue that drops spans when it is full: a slow or unreachable collector delays
no request.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer
from urllib3.exceptions import HTTPError

from gateway.concurrency.background import in_daemon_thread
from gateway.settings.error_messages import SettingsError
from gateway.tracing.spans import Server, Spans

logger = logging.getLogger(__name__)

_NAME: Final = "image-gateway"
_UNNAMED: Final = "unknown_service"
_LIBRARY: Final = "opentelemetry"
_EXPORTERS: Final = "opentelemetry.exporter."
_FLUSH_TIMEOUT: Final = 3.0  # seconds to wait for the last spans at the end of the gateway
_MOST_OF_AN_ANSWER: Final = 65_536  # bytes; a usual answer has two
_HEADER_PARSER: Final = "opentelemetry.util.re"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# The supported values of the variables that choose an exporter; the SDK would silently ignore any other value.
_SUPPORTED: Final[Mapping[str, str]] = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}


@asynccontextmanager
async def open_tracing(count: Callable[[str, int], None], *, redis: Server, postgres: Server) -> AsyncIterator[Spans]:
    """Return what starts spans, and send them until the context ends, which waits three seconds for the last spans.

    ``count`` is called with "exported" or "failed" and a number of spans, in another thread. ``redis`` and ``postgres``
    are the servers' hosts and ports. Raises ``SettingsError``.
    """
    for name, supported in _SUPPORTED.items():
        if (os.environ.get(name) or supported) != supported:
            raise SettingsError([f"{name}: only {supported} is supported"])
    for name in _ENDPOINTS:
        if not (os.environ.get(name) or "http://").startswith(("http://", "https://")):
            raise SettingsError([f"{name}: an http:// or https:// URL is required"])
    reasons = _ReasonKeeper()
    # In a thread, since certificates and entry points are read from the disk.
    try:
        tracer, processor, exporter = await asyncio.to_thread(_tracer, count, reasons)
    except ValueError as error:  # a number out of its range; the SDK names its own parameter
        raise SettingsError([f"a variable of OpenTelemetry: {error}"]) from error
    reasons.install()  # after the SDK has logged problems of the variables
    try:
        yield Spans(tracer, redis=redis, postgres=postgres)
    finally:
        flushing = in_daemon_thread(processor.shutdown, "tracing-flush")  # it does not keep the process alive
        flushed, _ = await asyncio.wait({flushing}, timeout=_FLUSH_TIMEOUT)
        if not flushed:
            logger.warning("the last spans were not sent within %g s", _FLUSH_TIMEOUT)
            exporter.shutdown()
        reasons.remove()


def _tracer(
    count: Callable[[str, int], None], reasons: "_ReasonKeeper"
) -> tuple[Tracer, BatchSpanProcessor, SpanExporter]:
    release = version(_NAME)
    resource = Resource.create({SERVICE_VERSION: release})
    if str(resource.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        resource = resource.merge(Resource({SERVICE_NAME: _NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # with the sampler of OTEL_TRACES_SAMPLER
    parser = logging.getLogger(_HEADER_PARSER)
    parser.addFilter(_without_header)
    try:
        exporter = _LoggedExporter(count, reasons)
    finally:
        parser.removeFilter(_without_header)
    processor = BatchSpanProcessor(exporter)
    provider.add_span_processor(processor)
    return provider.get_tracer(_NAME, release), processor, exporter


def _without_header(record: logging.LogRecord) -> bool:
    """Replace the message of the SDK, which quotes a malformed header with its key."""
    record.msg, record.args = "a header of OTEL_EXPORTER_OTLP_HEADERS is left out: each must be name=value", ()
    return True


class _BoundedSession(requests.Session):
    """HTTP session of the exporter that reads only a piece of each answer: the status and the headers are enough.

    A connection whose answer has ended with that piece is used again. Any other connection is closed.
    """

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        response = super().send(request, **{**options, "stream": True})
        with suppress(HTTPError):  # the body does not come, or is malformed
            response.raw.read1(_MOST_OF_AN_ANSWER, decode_content=False)
        response.close()
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: no redirect is followed, and requests would read its body whole."""
        del resp
        return None


class _LoggedExporter(OTLPSpanExporter):
    """Exports spans, counts them, and logs each outage of the collector once, and its end."""

    def __init__(self, count: Callable[[str, int], None], reasons: "_ReasonKeeper") -> None:
        super().__init__(session=_BoundedSession())
        self._count = count
        self._reasons = reasons
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        succeeded = result is SpanExportResult.SUCCESS
        self._count("exported" if succeeded else "failed", len(spans))
        if succeeded and self._is_away:
            logger.info("spans are exported again")
        elif not succeeded and not self._is_away:
            logger.warning("spans are not exported, and dropped: %s", self._reasons.last)
        self._is_away = not succeeded
        return result


class _ReasonKeeper(logging.Handler):
    """Log handler that keeps OpenTelemetry's last error message instead of logging one for every attempt."""

    last = "no reason is known"

    def install(self) -> None:
        library = logging.getLogger(_LIBRARY)
        library.addHandler(self)
        library.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_EXPORTERS):
            self.last = " ".join(record.getMessage().split())

    def remove(self) -> None:
        """Let the SDK log as before."""
        library = logging.getLogger(_LIBRARY)
        library.removeHandler(self)
        library.propagate = not any(isinstance(handler, _ReasonKeeper) for handler in library.handlers)
