"""Formatters of log records: a JSON object a line, or text for people. Neither prints credentials."""

import json
import logging
import re
import time
from functools import lru_cache
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
        line = {"event": event, "level": level, "logger": record.name, "timestamp": rfc3339(record.created)}
        return redact(json.dumps(line | self._facts() | self._stacks(record)))

    def _facts(self) -> dict[str, str | int]:
        """Return the number of the worker and the id of the request, if there are any."""
        facts = {"worker": self._worker, "request_id": current_request_id.get() or None}
        return {name: value for name, value in facts.items() if value is not None}

    def _stacks(self, record: logging.LogRecord) -> dict[str, str]:
        """Return tracebacks, without values of local variables."""
        stacks = {"exception": self.formatException(record.exc_info)} if record.exc_info else {}
        return stacks | ({"stack": record.stack_info} if record.stack_info else {})


class ConsoleFormatter(JsonFormatter):
    """Formats a record for people: a line, and tracebacks below it."""

    def __init__(self, worker: int | None = None, *, colours: bool) -> None:
        super().__init__(worker)
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, without the line break at its end."""
        level = record.levelname.lower()
        text = (
            f"{self._in(_DIM, rfc3339(record.created))} [{self._in(_COLOURS.get(level, ''), f'{level:<9}')}] "
            f"{self._in(_BOLD, printable(record.getMessage()))} [{record.name}]"
        )
        text += "".join(f" {name}={value}" for name, value in self._facts().items())
        return redact("\n".join((text, *self._stacks(record).values())))

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours and colour else text


def rfc3339(at: float) -> str:
    """Return the time ``at`` (Unix seconds) in UTC (RFC 3339)."""
    second = int(at)
    return f"{_text_of(second)}.{int((at - second) * 1_000_000):06d}Z"


@lru_cache(maxsize=1)
def _text_of(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
