"""Periodic maintenance: once a second, counters are written to Redis and the cache is trimmed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.redis_connection.guarded_client import CacheUnavailable

logger = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds

Job = Callable[[], Awaitable[object]]


class Maintenance:
    """Runs its jobs one after another. A job that fails runs again a second later."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    async def run(self) -> None:
        """Run all jobs once a second, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            await self.once()

    async def once(self) -> None:
        """Run each job once."""
        for job in self._jobs:
            try:
                await job()
            except CacheUnavailable as error:
                logger.debug("maintenance waits for redis: %s", error)
            except Exception:  # one job must not end the others
                logger.exception("maintenance failed")
