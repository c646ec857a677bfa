"""Structured log lines, without injected lines or secrets."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine

from gateway.process.logs import DebugLog, MalformedRequestFilter, configure_logging
from gateway.settings import LoggingSettings
from tests.conftest import RunningGateway
from tests.raw_client import connect
from tests.waiting import until

SIGNATURE = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
PRESIGNED = (
    "https://photos-1250000000.cos.ap-guangzhou.myqcloud.com/cat.png?q-sign-algorithm=sha1&q-ak=AKIDsecret"
    f"&q-sign-time=1%3B2&q-key-time=1%3B2&q-header-list=host&q-url-param-list=&q-signature={SIGNATURE}"
    "&x-cos-security-token=tokenOFtheSTS%2B"
)


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


def test_a_traceback_stays_in_its_line(log: io.StringIO) -> None:
    configure(log)
    try:
        int(f"of {PRESIGNED}")
    except ValueError:
        logging.getLogger("gateway").exception("request failed unexpectedly")
    (line,) = lines(log)
    assert "Traceback" in line["exception"]
    assert SIGNATURE not in log.getvalue()


def test_the_level_is_the_configured_one(log: io.StringIO) -> None:
    configure(log)
    logging.getLogger("gateway").debug("details")
    assert not log.getvalue()
    configure(log, level="debug")
    logging.getLogger("gateway").debug("details")
    assert lines(log)[0]["level"] == "debug"


@pytest.mark.parametrize("name", ["qcloud_cos", "urllib3", "asyncio"])
def test_libraries_that_log_signed_strings_log_warnings_alone(log: io.StringIO, name: str) -> None:
    configure(log, level="debug")
    logging.getLogger(name).info("signing %s", PRESIGNED)
    assert not log.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_presigned_url_is_logged_without_its_signature(log: io.StringIO, form: Literal["json", "console"]) -> None:
    configure(log, form)
    logging.getLogger("gateway").warning("refused: url=%s", PRESIGNED)
    text = log.getvalue()
    for secret in (SIGNATURE, "AKIDsecret", "tokenOFtheSTS"):
        assert secret not in text
    assert "cat.png" in text


def test_the_console_format_is_readable_text(log: io.StringIO) -> None:
    configure(log, "console")
    logging.getLogger("gateway").warning("transfer aborted: %s", "after 10 bytes")
    assert "transfer aborted: after 10 bytes" in log.getvalue()
    assert "\x1b" not in log.getvalue(), "no colours into a file"


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


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
    b"GET / HTTP/9.9\r\n\r\n",
    b"NOT A REQUEST AT ALL\r\n\r\n",
    b"GET /i/cat HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET /i/cat HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /i/cat HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET /i/cat HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /i/cat HTTP/1.1\r\n folded: x\r\n\r\n",
]


async def test_malformed_requests_do_not_flood_the_log(gateway: RunningGateway, log: io.StringIO) -> None:
    configure(log)
    for _ in range(3):
        for raw in GARBAGE:
            async with connect(gateway.ports.public) as connection:
                await connection.send(raw)
                if connection.writer.can_write_eof():
                    connection.writer.write_eof()
                answer = await connection.read_rest()
                assert b"Traceback" not in answer
                assert answer == b"" or answer.startswith(b"HTTP/1.")
                assert b" 5" not in answer[:13]
    await asyncio.sleep(0)
    assert "Traceback" not in log.getvalue()
    assert len(log.getvalue()) < 2000
    assert len(lines(log)) == 1
    assert lines(log)[0]["level"] == "info"


@pytest.fixture
def warnings_only() -> Iterator[None]:
    """The level of the root logger before the debug log."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.WARNING)
    yield
    root.setLevel(before)


async def test_the_level_comes_back_by_itself(warnings_only: None) -> None:
    switch = DebugLog(seconds=0.05)
    switch.start()
    assert logging.getLogger().level == logging.DEBUG
    assert switch.until is not None
    await until(lambda: switch.until is None)
    assert logging.getLogger().level == logging.WARNING


async def test_a_second_start_keeps_the_level_before_and_stopping_twice_is_harmless(warnings_only: None) -> None:
    switch = DebugLog()
    switch.start()
    switch.start()
    switch.stop()
    switch.stop()
    assert (switch.until, logging.getLogger().level) == (None, logging.WARNING)
