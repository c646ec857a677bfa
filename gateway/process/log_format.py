"""Formatters of log records: a JSON object a line, or text for people. Neither prints credentials."""

import json
import logging
import re
import time
from typing import Final

from gateway.delivery.request_context import current_request_id
from gateway.net.printable import printable

# Presigned URLs and tokens are credentials until they expire (aws/aws-sdk-java-v2#7388).
_SECRETS = re.compile(r"((?:q-signature|q-ak|sign|sig|x-cos-security-token)=|Bearer )[^&\s\"'\\]+", re.IGNORECASE)
_PLAIN: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
# ECMA-48, "select graphic rendition": green, yellow, red
_COLOURS: Final = {"info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}


def redact(text: str) -> str:
    """Return ``text`` with the values of signatures and tokens replaced by ``***``."""
    return _SECRETS.sub(r"\1***", text)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: event, level, logger, timestamp, and facts of the request and the error."""

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line break."""
        event, level = record.getMessage(), record.levelname.lower()
        line: dict[str, str | int] = {"event": event, "level": level, "logger": record.name}
        line["timestamp"] = _timestamp(record)
        if self._worker is not None:
            line["worker"] = self._worker
        if request_id := current_request_id.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return redact(json.dumps(line))


class ConsoleFormatter(logging.Formatter):
    """Formats a record for people: a line, and tracebacks below it, without values of local variables."""

    def __init__(self, worker: int | None = None, *, colours: bool) -> None:
        super().__init__()
        self._worker = worker
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, without the line break at its end."""
        level = record.levelname.lower()
        text = (
            f"{self._in(_DIM, _timestamp(record))} [{self._in(_COLOURS.get(level, ''), f'{level:<9}')}] "
            f"{self._in(_BOLD, printable(record.getMessage()))} [{record.name}]"
        )
        if self._worker is not None:
            text += f" worker={self._worker}"
        if request_id := current_request_id.get():
            text += f" request_id={request_id}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            text += f"\n{record.stack_info}"
        return redact(text)

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours and colour else text


def _timestamp(record: logging.LogRecord) -> str:
    """Return the time in UTC (RFC 3339)."""
    seconds, part = divmod(record.created, 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(part * 1_000_000):06d}Z"
