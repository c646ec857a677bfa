"""The level `debug` for a while."""

import logging
from collections.abc import Iterator

import pytest

from gateway.process.debug_log import DebugLog
from tests.waiting import until


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.WARNING)
    yield
    root.setLevel(before)


async def test_the_level_comes_back_by_itself() -> None:
    switch = DebugLog(seconds=0.05)
    switch.start()
    assert logging.getLogger().level == logging.DEBUG
    assert switch.until is not None
    await until(lambda: switch.until is None)
    assert logging.getLogger().level == logging.WARNING


async def test_a_second_start_keeps_the_level_before_and_stopping_twice_is_harmless() -> None:
    switch = DebugLog()
    switch.start()
    switch.start()
    switch.stop()
    switch.stop()
    assert (switch.until, logging.getLogger().level) == (None, logging.WARNING)
