"""Checks that changes of rows are notified, which nothing else in a running gateway shows."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.catalog.database_report import DatabaseReport
from gateway.errors import CatalogUnavailable
from gateway.monitoring.metrics import MonitoringMetrics

logger = logging.getLogger(__name__)

_INTERVAL = 600.0  # seconds; each look takes a connection and a few queries of the system's tables
_LEAST_PAUSE = 1.0  # seconds between two looks that somebody asks for


@dataclass(slots=True)
class TriggerWatch:
    """Checks that Postgres has the trigger that notifies of changed rows, sets a metric, and logs a problem once.

    ``inspect`` raises ``CatalogUnavailable`` while Postgres does not answer: the state then stays as it was.
    """

    inspect: Callable[[], Awaitable[DatabaseReport]]
    metrics: MonitoringMetrics
    interval: float = _INTERVAL
    least_pause: float = _LEAST_PAUSE
    _looked_at: float = field(default=float("-inf"), init=False)
    _look_soon: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _problem: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Look now, every ``interval`` seconds, and when somebody asks for it, until cancelled."""
        errors = self.metrics.background_errors.labels(task="trigger-watch")
        while True:
            try:
                await self.problem()
            except Exception:  # otherwise the checks would end
                errors.inc()
                logger.exception("looking for the change trigger failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self.interval):
                    await self._look_soon.wait()
                    await asyncio.sleep(self._looked_at + self.least_pause - time.monotonic())

    def look_soon(self) -> None:
        """Look at once, or a second after the last look. Does not wait for the result."""
        self._look_soon.set()

    async def problem(self) -> str | None:
        """Look, and return why changes are not notified, or None if they are, or if that is not known.

        A call during another look waits for its turn.
        """
        async with self._looking:
            self._look_soon.clear()
            try:
                problem = (await self.inspect()).changes_problem
            except CatalogUnavailable as error:
                logger.debug("not looked for the change trigger: %s", error)
                return self._problem
            finally:
                self._looked_at = time.monotonic()
        self.metrics.change_trigger_installed.set(problem is None)
        if problem is not None and problem != self._problem:
            logger.warning(
                "changes of rows are not notified, and take effect when cached URLs end: reason=%s; "
                "run what `image-gateway-admin sql changes` prints",
                problem,
            )
        elif problem is None and self._problem is not None:
            logger.info("changes of rows are notified again")
        self._problem = problem
        return problem
