"""What is done once a second beside the requests: counters to Redis, and the cache kept to its size."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.redis_store.guarded_client import CacheUnavailable

logger = logging.getLogger(__name__)

_EVERY = 1.0

Job = Callable[[], Awaitable[object]]


class Maintenance:
    """Does its chores one after another; what fails is done a second later."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    async def run(self) -> None:
        """Once a second, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.once()

    async def once(self) -> None:
        """Each chore once; also the last thing before the end."""
        for job in self._jobs:
            try:
                await job()
            except CacheUnavailable as error:
                logger.debug("upkeep waits for redis: %s", error)
            except Exception:  # one chore must not end the others
                logger.exception("upkeep failed")
