"""Structured log lines, without injected lines or secrets."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine

from gateway.process.logs import DebugLog, MalformedRequestFilter, configure_logging
from gateway.settings import LoggingSettings
from tests.waiting import until


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where the lines go; afterwards logging is as it was."""
    root, server = logging.getLogger(), logging.getLogger("aiohttp.server")
    handlers, level, filters = root.handlers[:], root.level, server.filters[:]
    yield io.StringIO()
    root.handlers[:], server.filters[:] = handlers, filters
    root.setLevel(level)


def configure(
    log: io.StringIO, form: Literal["json", "console"] = "json", level: Literal["debug", "info"] = "info"
) -> None:
    """Log there from now on."""
    configure_logging(LoggingSettings(level=level, format=form), log)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """Return the log lines parsed from JSON, one object a line."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_level_and_format_are_the_configured_ones(log: io.StringIO) -> None:
    configure(log)
    logging.getLogger("gateway").debug("details")
    assert not log.getvalue()
    configure(log, level="debug")
    logging.getLogger("gateway").debug("details")
    assert lines(log)[0]["level"] == "debug"
    configure(log, "console")
    logging.getLogger("gateway").warning("transfer aborted: %s", "after 10 bytes")
    assert log.getvalue().endswith("transfer aborted: after 10 bytes [gateway]\n"), "no colours into a file"


@pytest.mark.parametrize("name", ["qcloud_cos", "urllib3", "asyncio"])
def test_libraries_that_log_signed_strings_log_warnings_alone(log: io.StringIO, name: str) -> None:
    configure(log, level="debug")
    logging.getLogger(name).info("signing a string")
    assert not log.getvalue()


def malformed(error: BaseException | None = None) -> logging.LogRecord:
    """Return a record as aiohttp logs it for a malformed request."""
    error = error or BadStatusLine("x" * 5000)
    return logging.LogRecord(
        "aiohttp.server", logging.ERROR, __file__, 1, "Error handling request", (), (type(error), error, None)
    )


def test_malformed_requests_are_logged_as_one_short_line_an_interval() -> None:
    now = [100.0]
    log_filter = MalformedRequestFilter(interval=10, monotonic=lambda: now[0])
    first = malformed()
    assert log_filter.filter(first)
    assert (first.levelno, first.exc_info) == (logging.INFO, None)
    assert first.getMessage() == "malformed request: kind=BadStatusLine suppressed=0"
    now[0] += 9.9
    assert not any(log_filter.filter(malformed(BadHttpMessage("x"))) for _ in range(1000))
    now[0] += 0.2
    last = malformed(BadHttpMessage("x"))
    assert log_filter.filter(last)
    assert last.getMessage() == "malformed request: kind=BadHttpMessage suppressed=1000"


def test_an_error_of_the_server_is_logged_with_its_traceback() -> None:
    log_filter = MalformedRequestFilter()
    record = malformed(RuntimeError("a bug"))
    assert log_filter.filter(record)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert log_filter.filter(logging.LogRecord("aiohttp.server", logging.INFO, __file__, 1, "hello", (), None))


async def test_the_level_comes_back_by_itself_or_when_the_debug_log_is_stopped(log: io.StringIO) -> None:
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    switch = DebugLog(seconds=0.05)
    switch.start()
    assert root.level == logging.DEBUG
    assert switch.until is not None
    await until(lambda: switch.until is None)
    assert root.level == logging.WARNING
    switch = DebugLog()
    switch.start()
    switch.start()  # it keeps the level before
    switch.stop()
    switch.stop()
    assert (switch.until, root.level) == (None, logging.WARNING)
    del log
