"""Log lines as JSON or for a console, with the request id and without credentials."""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import TextIO

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import EventDict, WrappedLogger

from gateway.delivery.request_context import current_request_id
from gateway.settings import LoggingSettings

# Presigned URLs and tokens are credentials until they expire (aws/aws-sdk-java-v2#7388).
_SECRETS = re.compile(r"((?:q-signature|q-ak|sign|sig|x-cos-security-token)=|Bearer )[^&\s\"'\\]+", re.IGNORECASE)


def redact(text: str) -> str:
    """Return ``text`` with the values of signatures and tokens replaced by ``***``."""
    return _SECRETS.sub(r"\1***", text)


def configure_logging(settings: LoggingSettings, stream: TextIO | None = None, *, level: int | None = None) -> None:
    """Write the log of the process to ``stream`` (None: standard error) in the configured format.

    ``level``: another one than the configured.
    """
    stream = stream if stream is not None else sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    renderers: list[structlog.typing.Processor]
    if settings.format == "json":
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        renderers = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers, _redact_line],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper() if level is None else level)
    # Below WARNING, the SDK logs the strings it signs, and urllib3 the URLs it requests.
    for library in ("qcloud_cos", "urllib3", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)
    malformed = logging.getLogger("aiohttp.server")
    if not any(isinstance(one, MalformedRequestFilter) for one in malformed.filters):
        malformed.addFilter(MalformedRequestFilter())


class MalformedRequestFilter(logging.Filter):
    """Replaces aiohttp's traceback for a malformed request by one short line, at most once in ``interval`` seconds.

    Any client can send malformed requests; they must not fill the disk with log lines.
    """

    def __init__(self, interval: float = 10.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._interval = interval
        self._monotonic = monotonic
        self._next = float("-inf")
        self._suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        now = self._monotonic()
        if now < self._next:
            self._suppressed += 1
            return False
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg = "malformed request: kind=%s suppressed=%s"
        record.args = (type(error).__name__, self._suppressed)
        record.exc_info = record.exc_text = None
        self._next, self._suppressed = now + self._interval, 0
        return True


def _add_request_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    request_id = current_request_id.get()
    if request_id:
        event["request_id"] = request_id
    return event


def _redact_line(logger: WrappedLogger, method: str, line: object) -> str:
    del logger, method
    return redact(str(line))
