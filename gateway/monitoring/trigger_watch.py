"""Checks that changes of rows are notified, which nothing else in a running gateway shows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.catalog.triggers import TriggerReport
from gateway.errors import CatalogUnavailable, DependencyDegraded
from gateway.monitoring.metrics import MonitoringMetrics

logger = logging.getLogger(__name__)

_INTERVAL = 60.0  # seconds; each look takes a connection and a query of the system's tables
_RETRY_INTERVAL = 10.0  # seconds after a look that Postgres did not answer
_LEAST_PAUSE = 1.0  # seconds between two looks that somebody asks for


async def _nothing() -> None:
    """Do nothing about a gap: this process serves no images."""


@dataclass(slots=True)
class TriggerWatch:
    """Checks that Postgres has the triggers that notify of changed rows, sets a metric, and logs a problem once.

    A trigger that was missing, disabled or another one, and works again, has left a gap, and so has a trigger that was
    installed again between two looks: changes may have been missed.

    inspect: returns a report on each table that needs a trigger. It raises ``CatalogUnavailable`` while Postgres does
        not answer: the state then stays as it was.
    gap_ended: called at the first look that finds the triggers, and at the end of each gap.
    has_looked: set after the first look, also if Postgres did not answer.
    """

    inspect: Callable[[], Awaitable[Sequence[TriggerReport]]]
    metrics: MonitoringMetrics
    gap_ended: Callable[[], Awaitable[None]] = _nothing
    interval: float = _INTERVAL
    least_pause: float = _LEAST_PAUSE
    has_looked: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_answered: bool = field(default=True, init=False)
    _look_soon: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _reports: dict[str, TriggerReport] = field(default_factory=dict, init=False)

    async def run(self) -> None:
        """Look now, every ``interval`` seconds, and when somebody asks for it, until cancelled."""
        errors = self.metrics.background_errors.labels(task="trigger-watch")
        while True:
            try:
                await self.problem()
            except Exception:  # otherwise the checks would end
                errors.inc()
                logger.exception("looking for the change trigger failed")
            await asyncio.sleep(self.least_pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.interval if self._is_answered else min(_RETRY_INTERVAL, self.interval)):
                    await self._look_soon.wait()

    def look_soon(self) -> None:
        """Look at once, or a second after the last look. Does not wait for the result."""
        self._look_soon.set()

    def check(self) -> None:
        """Raise ``DependencyDegraded`` if the last look has found that changes are not notified."""
        if (problem := self._latest_problem()) is not None:
            raise DependencyDegraded(problem)

    async def problem(self) -> str | None:
        """Look, and return why changes are not notified, or None if they are, or if that is not known.

        A call during another look waits for its turn.
        """
        async with self._looking:
            self._look_soon.clear()
            try:
                await self._note(await self.inspect())
                self._is_answered = True
            except CatalogUnavailable as error:
                self._is_answered = False
                logger.debug("not looked for the change trigger: %s", error)
            finally:
                self.has_looked.set()
            return self._latest_problem()

    async def _note(self, reports: Sequence[TriggerReport]) -> None:
        if any(report.ends_gap(self._reports.get(report.place)) for report in reports):
            await self.gap_ended()
        before, self._reports = self._latest_problem(), {report.place: report for report in reports}
        problem = self._latest_problem()
        self.metrics.change_trigger_installed.set(problem is None)
        if problem is not None and problem != before:
            logger.warning(
                "changes of rows are not notified, and take effect when cached URLs end: reason=%s; "
                "run what `image-gateway-admin sql changes` prints",
                problem,
            )
        elif problem is None and before is not None:
            logger.info("changes of rows are notified again: every row is read again")

    def _latest_problem(self) -> str | None:
        return next((report.problem for report in self._reports.values() if report.problem is not None), None)
