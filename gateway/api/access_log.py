"""The access log: a line for each request, also for a failed request, written in batches."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as _quote
from typing import Final, Literal

from gateway.net.printable import printable
from gateway.process.log_format import redact
from gateway.process.log_stream import LogOutput, NoOutput
from gateway.process.logs import LogHandler
from gateway.settings import LoggingSettings

LOGGER: Final = "gateway.access"
_FLUSH_AFTER: Final = 0.2  # seconds that a line waits for others
_MOST_WAITING: Final = 500  # lines
_QUIET_ROUTES: Final = frozenset({"healthz", "readyz"})  # asked every few seconds, and counted by metrics
_LONGEST_REASON: Final = 300  # characters

Value = str | int | float | None
Level = Literal["info", "error"]


class AccessLog:
    """Writes a line for ``access_sample`` of the requests, and for each request that ended with a 5xx or was aborted.

    A line costs a few microseconds: it does not pass through ``logging``, whose handler would format, lock and flush
    each line. While ``is_on`` is False, a line is added only for a
    fault of the gateway or of a service that it uses. ``worker`` is the number of this process among several.
    """

    def __init__(
        self,
        stream: LogOutput,
        settings: LoggingSettings,
        *,
        is_on: bool = True,
        worker: int | None = None,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._stream = stream
        self.use(settings, is_on=is_on)
        self._origin: Mapping[str, Value] = {} if worker is None else {"worker": worker}
        self._now = now
        self._chance = chance
        self._waiting: list[str] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._second = 0
        self._second_text = ""

    def use(self, settings: LoggingSettings, *, is_on: bool) -> None:
        """Write lines in the format and the sample of these settings from now on, or none with ``is_on`` False."""
        self._as_line = _as_json if settings.format == "json" else _as_text
        self._sample = settings.access_sample
        self.is_on = is_on

    def wants(self, route: str, outcome: str) -> bool:
        """Return whether the request gets a line. ``outcome`` is its status, or what ended it without a status."""
        if outcome[0] == "5" or not outcome.isdigit():
            return True
        if route in _QUIET_ROUTES:
            return False
        return self._sample >= 1 or self._chance() < self._sample

    def add(self, facts: Mapping[str, Value], level: Level = "info") -> None:
        """Write a line soon. Facts that are None are left out."""
        if self._origin:
            facts = {**self._origin, **facts}
        self._waiting.append(self._as_line(self._timestamp(), level, facts))
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._waiting:
            text, self._waiting = "".join(self._waiting), []
            self._stream.write(text)
            self._stream.flush()

    def _timestamp(self) -> str:
        now = self._now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now - second) * 1_000_000):06d}Z"


def stream_of_log() -> LogOutput:
    """Return where the log goes: the stream of its own handler, else of the whole log. Nowhere without a stream."""
    handlers = (*logging.getLogger(LOGGER).handlers, *logging.getLogger().handlers)
    return next((handler.stream for handler in handlers if isinstance(handler, LogHandler)), NoOutput())


def shortened(text: str | None, longest: int = _LONGEST_REASON) -> str | None:
    """Return the text without signatures and tokens, or None for an empty text."""
    return redact(text)[:longest] if text else None


def _as_json(timestamp: str, level: Level, facts: Mapping[str, Value]) -> str:
    # Half the time of an encoder, which a line for each request would take: the values are words and numbers.
    said = [
        f', "{name}": {_quote(value) if type(value) is str else value}'
        for name, value in facts.items()
        if value is not None
    ]
    start = f'{{"event": "request", "level": "{level}", "logger": "{LOGGER}", "timestamp": "{timestamp}"'
    return f"{start}{''.join(said)}}}\n"


def _as_text(timestamp: str, level: Level, facts: Mapping[str, Value]) -> str:
    said = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None and name != "exception")
    exception = facts.get("exception")
    # The image is what the client wrote, perhaps with line breaks; JSON has an escape for them.
    return f"{timestamp} [{level:<9}] request {printable(said)}\n{exception if exception is not None else ''}"
