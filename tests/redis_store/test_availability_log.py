"""What the log is told of Redis: the reason, and not again and again."""

import logging

import pytest

from gateway.redis_store.availability_log import AvailabilityLog
from tests.tier import Clock


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_each_outage_is_told_once_and_so_is_its_end(told: pytest.LogCaptureFixture) -> None:
    tidings = AvailabilityLog()
    tidings.answered()
    assert not told.records
    for _ in range(2):
        told.clear()
        for reason in ("refused", "still refused"):
            tidings.away(reason)
        for _ in range(2):
            tidings.answered()
        assert [(record.levelname, record.message) for record in told.records] == [
            ("WARNING", "redis is away, going on without it: reason=refused"),
            ("INFO", "redis is back"),
        ]


def test_what_is_refused_again_and_again_is_told_once_a_minute(told: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    tidings = AvailabilityLog(monotonic=clock)
    for _ in range(60):
        tidings.refused("OOM")
        tidings.answered()
        clock.now += 1
    assert [record.message for record in told.records] == ["redis refuses what it is asked: reason=OOM"]
    tidings.refused("READONLY")
    assert "READONLY" in told.records[-1].message
