"""What is done once a second beside the requests: counters to Redis, and the cache kept to its size."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.urls.redis_guard import CacheUnavailable

logger = logging.getLogger(__name__)

_EVERY = 1.0

Chore = Callable[[], Awaitable[object]]


class Upkeep:
    """Does its chores one after another; what fails is done a second later."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores

    async def run(self) -> None:
        """Once a second, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.once()

    async def once(self) -> None:
        """Each chore once; also the last thing before the end."""
        for chore in self._chores:
            try:
                await chore()
            except CacheUnavailable as error:
                logger.debug("upkeep waits for redis: %s", error)
            except Exception:  # one chore must not end the others
                logger.exception("upkeep failed")
