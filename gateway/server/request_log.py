"""The request log (``logging.access``): a line for each request, also for a failed request, written in batches."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as _quote
from typing import Final

from gateway.delivery.request_context import Failure, RequestContext
from gateway.net.printable import printable
from gateway.process.log_format import redact, rfc3339
from gateway.process.log_stream import LogOutput
from gateway.process.logs import LogHandler
from gateway.settings import Live, LoggingSettings

LOGGER: Final = "gateway.access"
_FLUSH_AFTER: Final = 0.2  # seconds that a line waits for others
# Requests whose lines are formatted together. The first line of a batch loads the code into the processor's cache: a
# line of 64 costs half of a line alone. Formatting 64 lines takes less than 0.3 ms.
_MOST_WAITING: Final = 64
_QUIET_ROUTES: Final = frozenset({"healthz", "readyz"})  # asked every few seconds, and counted by metrics
_LONGEST_REASON: Final = 300  # characters
_LONGEST_TRACEBACK: Final = 20_000  # characters
_OF_EVERY_LINE: Final = frozenset({"event", "level", "logger", "timestamp"})


def facts_of(context: RequestContext) -> dict[str, str | int | float]:
    """Return the facts of a request that has ended, by their names in the log. None holds a query or a credential."""
    line = json.loads(_as_json(context, "", None))
    return {name: value for name, value in line.items() if name not in _OF_EVERY_LINE}


class RequestLog:
    """Writes log lines of the share ``access_sample`` of requests, and of each that ended with a 5xx or was aborted.

    A line costs a few microseconds: it does not pass through ``logging``, whose handler would format, lock and flush
    each line. While ``is_on`` is False, a line is added only for a fault of the gateway or of a service that it uses.
    ``stream`` is None if nothing is logged. ``worker`` is the number of this process among several.
    """

    def __init__(
        self,
        stream: LogOutput | None,
        settings: Live[LoggingSettings],
        *,
        worker: int | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._stream = stream
        self._worker = worker
        self._chance = chance
        self._waiting: list[RequestContext] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._settings = settings
        self.is_on = settings.map(_is_on)

    def wants(self, route: str, outcome: str) -> bool:
        """Return whether the request gets a line. ``outcome`` is its status, or what ended it without a status."""
        if route in _QUIET_ROUTES:
            return _is_failure(outcome)
        sample = self._settings.value.access_sample
        return sample >= 1 or _is_failure(outcome) or self._chance() < sample

    def add(self, context: RequestContext) -> None:
        """Write a line soon."""
        waiting = self._waiting
        waiting.append(context)
        if len(waiting) >= _MOST_WAITING:
            self.flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        waiting, self._waiting = self._waiting, []
        if waiting and self._stream is not None:
            as_line = _as_json if self._settings.value.format == "json" else _as_text
            worker = self._worker
            self._stream.write("".join([as_line(context, rfc3339(context.ended_at), worker) for context in waiting]))
            self._stream.flush()


def _is_on(settings: LoggingSettings) -> bool:
    """Return whether requests get lines: not if the access log is off, or the level excludes it."""
    level = logging.getLogger(LOGGER).level or logging.getLevelNamesMapping()[settings.level.upper()]
    return settings.access and level <= logging.INFO


def stream_of_log() -> LogOutput | None:
    """Return where the log goes: the stream of its own handler, else of the whole log. None if nothing is logged."""
    handlers = (*logging.getLogger(LOGGER).handlers, *logging.getLogger().handlers)
    return next((handler.stream for handler in handlers if isinstance(handler, LogHandler)), None)


def _is_failure(outcome: str) -> bool:
    return outcome[0] == "5" or not outcome.isdigit()


def _level_of(context: RequestContext) -> str:
    """Return ``error`` for a fault of the gateway or of a service that it uses, else ``info``."""
    return "error" if context.failure is not None and context.failure.is_fault else "info"


def _as_json(context: RequestContext, timestamp: str, worker: int | None) -> str:
    # Half the time of a loop over the names, and a quarter of an encoder's.
    status = context.outcome if context.outcome.isdigit() else _quote(context.outcome)
    line = (
        f'{{"event": "request", "level": "{_level_of(context)}", "logger": "{LOGGER}", "timestamp": "{timestamp}", '
        f'"request_id": "{context.request_id}", "method": {_quote(context.method)}, "route": "{context.route}", '
        f'"delivery": "{context.delivery}", "status": {status}, "bytes": {context.size}, '
        f'"seconds": {context.seconds:.6f}'
    )
    if worker is not None:
        line += f', "worker": {worker}'
    if context.trace_id is not None:
        line += f', "trace_id": "{context.trace_id}"'
    if context.image_id is not None:
        line += f', "image": {_quote(context.image_id)}'
    if context.client is not None:
        line += f', "client": {_quote(context.client)}'
    if context.caller is not None:
        line += f', "caller": "{context.caller.kind}"'
    if context.variant is not None:
        line += f', "variant": {_quote(context.variant)}'
    if context.first_byte is not None:
        line += f', "first_byte": {context.first_byte:.6f}'
    if context.cache is not None:
        line += f', "cache": {_quote(context.cache)}'
    if (origin_seconds := context.origin_seconds()) is not None:
        line += f', "origin_seconds": {origin_seconds:.6f}'
    if context.failure is not None:
        for name, value in _facts_of(context.failure).items():
            if value is not None:
                line += f', "{name}": {_quote(value)}'
    return line + "}\n"


def _as_text(context: RequestContext, timestamp: str, worker: int | None) -> str:
    said = facts_of(context) if worker is None else {"worker": worker, **facts_of(context)}
    exception = said.pop("exception", "")
    # The image is what the client wrote, perhaps with line breaks; JSON has an escape for them.
    text = printable(" ".join([f"{name}={value}" for name, value in said.items()]))
    return f"{timestamp} [{_level_of(context):<9}] request {text}\n{exception}"


def _facts_of(failure: Failure) -> dict[str, str | None]:
    return {
        "code": failure.code,
        "cos_code": failure.cos_code,
        "cos_request_id": failure.cos_request_id,
        "reason": _shortened(failure.reason, _LONGEST_REASON),
        "exception": _shortened(failure.exception, _LONGEST_TRACEBACK),
    }


def _shortened(text: str | None, longest: int) -> str | None:
    """Return the text without signatures and tokens, or None for an empty text."""
    return redact(text)[:longest] if text else None
