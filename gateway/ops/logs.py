"""Log lines as JSON or for a console, with the request's id, and without anything that opens a door."""

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

# A presigned URL is a credential as long as it lives (aws/aws-sdk-java-v2#7388), and so is a token.
_SECRETS = re.compile(r"((?:q-signature|q-ak|sign|sig|x-cos-security-token)=|Bearer )[^&\s\"'\\]+", re.IGNORECASE)


def redact(text: str) -> str:
    """``text`` with the values of signatures and tokens struck out."""
    return _SECRETS.sub(r"\1***", text)


def configure_logging(settings: LoggingSettings, stream: TextIO | None = None) -> None:
    """Send every log line of the process to ``stream`` (standard error if None) in the configured format."""
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
    root.setLevel(settings.level.upper())
    # The SDK logs what it signs, and urllib3 what it requests.
    for chatty in ("qcloud_cos", "urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(MalformedRequestFilter())


class MalformedRequestFilter(logging.Filter):
    """Makes of aiohttp's traceback for each malformed request one short line, at most once in ``every`` seconds.

    Anybody can send garbage; nobody should be able to fill the disk with it.
    """

    def __init__(self, every: float = 10.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every = every
        self._monotonic = monotonic
        self._next = float("-inf")
        self._unsaid = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        now = self._monotonic()
        if now < self._next:
            self._unsaid += 1
            return False
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg = "malformed request: kind=%s unsaid=%s"
        record.args = (type(error).__name__, self._unsaid)
        record.exc_info = record.exc_text = None
        self._next, self._unsaid = now + self._every, 0
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
