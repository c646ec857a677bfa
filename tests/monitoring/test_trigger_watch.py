"""The log and a metric report a missing change trigger."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from gateway.catalog.triggers import TriggerReport
from gateway.concurrency.background import background
from gateway.errors import CatalogUnavailable
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.service.metrics import Metrics
from tests.waiting import until

FINE = TriggerReport("images", None, ("1.2.3",))
MISSING = TriggerReport("images", "no trigger on images notifies of changes")


@dataclass
class Looks:
    """Finds these reports one after another, the last one for ever. ``at``: when it has looked."""

    reports: Sequence[TriggerReport | Exception]
    at: list[float] = field(default_factory=list)

    async def __call__(self) -> list[TriggerReport]:
        self.at.append(time.monotonic())
        report = self.reports[min(len(self.at), len(self.reports)) - 1]
        if isinstance(report, Exception):
            raise report
        return [report]

    async def all_by(self, watch: TriggerWatch) -> AsyncIterator[None]:
        """Let the watch look until it has found every report."""
        while len(self.at) < len(self.reports):
            await watch.problem()
            assert watch.has_looked.is_set()
            yield


def installed(metrics: Metrics) -> float:
    """Return the metric."""
    value = metrics.registry.get_sample_value("image_gateway_change_trigger_installed")
    assert value is not None
    return value


async def test_a_problem_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    looks, metrics = Looks([MISSING, MISSING, CatalogUnavailable("away"), FINE, FINE]), Metrics()
    watch = TriggerWatch(looks, metrics.monitoring)
    assert math.isnan(installed(metrics))
    assert [installed(metrics) async for _ in looks.all_by(watch)] == [0, 0, 0, 1, 1]
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
    looks, ended = Looks(reports), list[None]()

    async def gap_ended() -> None:
        ended.append(None)

    async for _ in looks.all_by(TriggerWatch(looks, Metrics().monitoring, gap_ended)):
        pass
    assert len(ended) == gaps


async def test_the_end_of_a_gap_that_could_not_be_handled_is_handled_at_the_next_look() -> None:
    ended = 0

    async def gap_ended() -> None:
        nonlocal ended
        ended += 1
        if ended == 1:
            raise LookupError("an unexpected error")

    watch = TriggerWatch(Looks([FINE]), Metrics().monitoring, gap_ended, interval=0.01, least_pause=0.01)
    async with background("trigger-watch", watch.run()):
        await until(lambda: ended == 2)


async def test_an_unexpected_error_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    metrics, looks = Metrics(), Looks([LookupError("an unexpected error"), FINE])
    async with background(
        "trigger-watch", TriggerWatch(looks, metrics.monitoring, interval=0.01, least_pause=0.01).run()
    ):
        await until(lambda: len(looks.at) > 2)
    assert installed(metrics) == 1
    assert metrics.registry.get_sample_value("image_gateway_background_errors_total", {"task": "trigger-watch"}) == 1
    assert "looking for the change trigger failed" in caplog.text


async def test_it_looks_again_at_once_when_somebody_asks_and_at_most_once_in_a_pause() -> None:
    looks, metrics = Looks([FINE, MISSING]), Metrics()
    watch = TriggerWatch(looks, metrics.monitoring, least_pause=0.2)
    async with background("trigger-watch", watch.run()):
        await until(lambda: installed(metrics) == 1)
        for _ in range(20):
            watch.look_soon()
            await asyncio.sleep(0)
        await until(lambda: installed(metrics) == 0)
        assert await watch.problem() == MISSING.problem
        watch.look_soon()
        await until(lambda: len(looks.at) > 3)
    assert len(looks.at) == 4
    assert looks.at[1] - looks.at[0] >= 0.2
