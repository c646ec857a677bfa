"""Checks that changes of rows are notified, which nothing else in a running gateway shows."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.catalog.database_report import DatabaseReport
from gateway.errors import CatalogUnavailable
from gateway.monitoring.metrics import MonitoringMetrics

logger = logging.getLogger(__name__)

_INTERVAL = 600.0  # seconds; each look takes a connection and a few queries of the system's tables
_LEAST_PAUSE = 1.0  # seconds between two looks that somebody asks for


class TriggerWatch:
    """Looks for the change trigger, sets a metric, and logs a problem once, and its end.

    ``inspect`` raises ``CatalogUnavailable`` while Postgres does not answer: the state then stays as it was.
    """

    def __init__(
        self,
        inspect: Callable[[], Awaitable[DatabaseReport]],
        metrics: MonitoringMetrics,
        interval: float = _INTERVAL,
        least_pause: float = _LEAST_PAUSE,
    ) -> None:
        self._inspect = inspect
        self._is_installed = metrics.change_trigger_installed
        self._background_errors = metrics.background_errors.labels(task="trigger-watch")
        self._interval = interval
        self._least_pause = least_pause
        self._looked_at = float("-inf")
        self._look_soon = asyncio.Event()
        self._looking = asyncio.Lock()
        self._problem: str | None = None

    async def run(self) -> None:
        """Look now, every ``interval`` seconds, and when somebody asks for it, until cancelled."""
        while True:
            try:
                await self.problem()
            except Exception:  # otherwise the checks would end
                self._background_errors.inc()
                logger.exception("looking for the change trigger failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._look_soon.wait()
                    await asyncio.sleep(self._looked_at + self._least_pause - time.monotonic())

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
                problem = (await self._inspect()).changes_problem
            except CatalogUnavailable as error:
                logger.debug("not looked for the change trigger: %s", error)
                return self._problem
            finally:
                self._looked_at = time.monotonic()
        self._is_installed.set(problem is None)
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
