"""What is done once a second beside the requests: counters to Redis, and the cache kept to its size."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.urls.redis_guard import CacheUnavailable, WrongType

logger = logging.getLogger(__name__)

_EVERY = 1.0

Chore = Callable[[], Awaitable[object]]


class Upkeep:
    """Does its chores one after another; what fails today is done tomorrow. ``mend`` follows a ``WrongType``."""

    def __init__(self, chores: Sequence[Chore], mend: Chore) -> None:
        self._chores = chores
        self._mend = mend

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
            except WrongType as error:
                logger.warning("something else lies under one of our keys, it is removed: %s", error)
                await self._try_to_mend()
            except CacheUnavailable as error:
                logger.debug("upkeep waits for redis: %s", error)
            except Exception:  # one chore must not end the others
                logger.exception("upkeep failed")

    async def _try_to_mend(self) -> None:
        try:
            await self._mend()
        except CacheUnavailable as error:
            logger.debug("upkeep waits for redis: %s", error)
