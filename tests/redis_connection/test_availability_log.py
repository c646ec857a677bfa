"""The log lines about the availability of Redis."""

import logging

import pytest

from gateway.redis_connection.availability_log import AvailabilityLog
from tests.tier import Clock


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_an_outage_is_logged_once_and_so_is_its_end(log: pytest.LogCaptureFixture) -> None:
    availability = AvailabilityLog()
    availability.answered()
    assert not log.records
    for _ in range(2):
        log.clear()
        for reason in ("refused", "still refused"):
            availability.away(reason)
        for _ in range(2):
            availability.answered()
        assert [(record.levelname, record.message) for record in log.records] == [
            ("WARNING", "redis does not answer, going on without it: reason=refused"),
            ("INFO", "redis answers again"),
        ]


def test_repeated_refusals_are_logged_once_a_minute(log: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    availability = AvailabilityLog(monotonic=clock)
    for _ in range(60):
        availability.refused("OOM")
        availability.answered()
        clock.now += 1
    assert [record.message for record in log.records] == ["redis refuses commands: reason=OOM"]
    availability.refused("READONLY")
    assert "READONLY" in log.records[-1].message
