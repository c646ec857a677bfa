"""Structured log lines, without injected lines or secrets."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from gateway.process.logs import DebugLog, configure_logging
from gateway.settings import LoggingSettings
from tests.waiting import until


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where the lines go; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
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
