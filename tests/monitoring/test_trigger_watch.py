"""The log and a metric report a missing change trigger."""

import asyncio
import logging
import math
import time
from dataclasses import replace

import pytest

from gateway.catalog.triggers import TriggerReport
from gateway.concurrency.background import background
from gateway.errors import CatalogUnavailable
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.service.metrics import Metrics
from tests.conftest import RunningGateway
from tests.waiting import until

FINE = TriggerReport("images", None, ("1.2.3",))
MISSING = TriggerReport("images", "no trigger on images notifies of changes")


def installed(metrics: Metrics) -> float:
    """Return the metric."""
    value = metrics.registry.get_sample_value("image_gateway_change_trigger_installed")
    assert value is not None
    return value


async def test_a_problem_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reports: list[TriggerReport | Exception] = [MISSING, MISSING, CatalogUnavailable("away"), FINE, FINE]
    metrics, seen = Metrics(), []

    async def inspect() -> list[TriggerReport]:
        report = reports.pop(0)
        if isinstance(report, Exception):
            raise report
        return [report]

    watch = TriggerWatch(inspect, metrics.monitoring)
    assert math.isnan(installed(metrics))
    while reports:
        await watch.problem()
        seen.append(installed(metrics))
    assert seen == [0, 0, 0, 1, 1]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "reason=no trigger on images notifies of changes" in messages[0]
    assert messages[1] == "changes of rows are notified again: every row is read again"


@pytest.mark.parametrize(
    ("reports", "gaps"),
    [
        ([FINE, FINE], 1),
        ([FINE, MISSING], 1),
        ([MISSING, MISSING, FINE, FINE], 1),
        ([FINE, MISSING, CatalogUnavailable("away"), FINE], 2),
        ([FINE, replace(FINE, identity=("4.5.6",)), replace(FINE, identity=("4.5.6",))], 2),
        ([CatalogUnavailable("away"), FINE], 1),
    ],
)
async def test_a_gap_ends_when_a_trigger_is_there_that_was_missing_or_another_one_or_not_looked_for(
    reports: list[TriggerReport | Exception], gaps: int
) -> None:
    ended = 0

    async def inspect() -> list[TriggerReport]:
        report = reports.pop(0)
        if isinstance(report, Exception):
            raise report
        return [report]

    async def gap_ended() -> None:
        nonlocal ended
        ended += 1

    watch = TriggerWatch(inspect, Metrics().monitoring, gap_ended)
    while reports:
        await watch.problem()
        assert watch.has_looked.is_set()
    assert ended == gaps


async def test_the_end_of_a_gap_that_could_not_be_handled_is_handled_at_the_next_look() -> None:
    ended = 0

    async def inspect() -> list[TriggerReport]:
        return [FINE]

    async def gap_ended() -> None:
        nonlocal ended
        ended += 1
        if ended == 1:
            raise LookupError("an unexpected error")

    async with background("trigger-watch", TriggerWatch(inspect, Metrics().monitoring, gap_ended, interval=0.01).run()):
        await until(lambda: ended == 2)


async def test_an_unexpected_error_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    metrics, looks = Metrics(), 0

    async def inspect() -> list[TriggerReport]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise LookupError("an unexpected error")
        return [FINE]

    async with background("trigger-watch", TriggerWatch(inspect, metrics.monitoring, interval=0.01).run()):
        await until(lambda: looks > 2)
    assert installed(metrics) == 1
    assert metrics.registry.get_sample_value("image_gateway_background_errors_total", {"task": "trigger-watch"}) == 1
    assert "looking for the change trigger failed" in caplog.text


async def test_it_looks_again_at_once_when_somebody_asks_and_at_most_once_in_a_pause() -> None:
    looks: list[float] = []

    async def inspect() -> list[TriggerReport]:
        looks.append(time.monotonic())
        return [FINE if len(looks) == 1 else MISSING]

    metrics = Metrics()
    watch = TriggerWatch(inspect, metrics.monitoring, least_pause=0.2)
    async with background("trigger-watch", watch.run()):
        await until(lambda: installed(metrics) == 1)
        for _ in range(20):
            watch.look_soon()
            await asyncio.sleep(0)
        await until(lambda: installed(metrics) == 0)
        assert await watch.problem() == MISSING.problem
        watch.look_soon()
        await until(lambda: len(looks) > 3)
    assert len(looks) == 4
    assert looks[1] - looks[0] >= 0.2


async def test_a_gateway_looks_when_it_starts(gateway: RunningGateway) -> None:
    await until(lambda: gateway.sample("change_trigger_installed") == 1)
