"""Checks that changes of rows are notified, which nothing else in a running gateway shows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.catalog.inspection import DatabaseReport
from gateway.errors import CatalogUnavailable
from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)

_INTERVAL = 600.0  # seconds; each look takes a connection and a few queries of the system's tables


class TriggerWatch:
    """Sets a metric, and logs a problem once, and its end.

    ``inspect`` raises ``CatalogUnavailable`` while Postgres does not answer: the metric then stays as it was.
    """

    def __init__(
        self, inspect: Callable[[], Awaitable[DatabaseReport]], metrics: Metrics, interval: float = _INTERVAL
    ) -> None:
        self._inspect = inspect
        self._is_installed = metrics.change_trigger_installed
        self._background_errors = metrics.background_errors.labels(task="trigger-watch")
        self._interval = interval
        self._problem: str | None = None

    async def run(self) -> None:
        """Look now, and every ``interval`` seconds until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # otherwise the checks would end
                self._background_errors.inc()
                logger.exception("looking for the change trigger failed")
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """Look once."""
        try:
            problem = (await self._inspect()).changes_problem
        except CatalogUnavailable as error:
            logger.debug("not looked for the change trigger: %s", error)
            return
        self._is_installed.set(problem is None)
        if problem is not None and problem != self._problem:
            logger.warning(
                "changes of rows are not notified, and take effect when cached URLs end: reason=%s; "
                "run what `image-gateway sql changes` prints",
                problem,
            )
        elif problem is None and self._problem is not None:
            logger.info("changes of rows are notified again")
        self._problem = problem
