"""How often images are asked for: counted in memory, written to Redis once a second in one pipeline."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.urls.redis_cache import CacheUnavailable, RedisUrlCache, Usage

_INTERVAL = 1.0
_MOST_IMAGES = 50_000


class UsageCounter:
    """Counts without waiting for anything.

    What cannot be written yet is kept for the next flush, for at most ``most_images`` images: beyond that, images
    that were not counted yet are not counted, so that an outage of Redis costs a bounded amount of memory.
    """

    def __init__(
        self, cache: RedisUrlCache | None, *, most_images: int = _MOST_IMAGES, now: Callable[[], float] = time.time
    ) -> None:
        self._cache = cache
        self._most_images = most_images
        self._now = now
        self._counted: dict[str, Usage] = {}

    def accessed(self, image_id: str) -> None:
        """The image's URL was used."""
        known = self._counted.get(image_id)
        now = int(self._now())
        if known is not None and known.last_access == now:  # as for whatever is asked for often
            self._counted[image_id] = Usage(known.access_count + 1, known.refresh_count, now)
        else:
            self._count(image_id, Usage(access_count=1, last_access=now))

    def refreshed(self, image_id: str) -> None:
        """The image's URL was made anew."""
        self._count(image_id, Usage(refresh_count=1))

    async def usage(self, image_id: str) -> Usage:
        """All that is known: what is in Redis and what is not yet there; the latter alone while Redis is away."""
        pending = self._counted.get(image_id, Usage())
        if self._cache is None:
            return pending
        try:
            return _sum(await self._cache.usage(image_id), pending)
        except CacheUnavailable:
            return pending

    async def flush(self) -> None:
        """Write what was counted; on ``CacheUnavailable`` it stays for the next time."""
        if self._cache is None or not self._counted:
            return
        counted, self._counted = self._counted, {}
        try:
            await self._cache.add_usage(counted)
        except CacheUnavailable:
            for image_id, usage in counted.items():
                self._count(image_id, usage)

    def _count(self, image_id: str, usage: Usage) -> None:
        known = self._counted.get(image_id)
        if known is not None:
            self._counted[image_id] = _sum(known, usage)
        elif len(self._counted) < self._most_images:
            self._counted[image_id] = usage


def _sum(one: Usage, other: Usage) -> Usage:
    times = [time for time in (one.last_access, other.last_access) if time is not None]
    return Usage(
        one.access_count + other.access_count,
        one.refresh_count + other.refresh_count,
        max(times, default=None),
    )


@asynccontextmanager
async def open_usage_counter(cache: RedisUrlCache | None) -> AsyncIterator[UsageCounter]:
    """A counter that is flushed every second, and once more at the end."""
    counter = UsageCounter(cache)
    stopping = asyncio.Event()

    async def keep_flushing() -> None:
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), _INTERVAL)
            except TimeoutError:
                await counter.flush()

    task = asyncio.create_task(keep_flushing(), name="usage-flush")
    try:
        yield counter
    finally:
        stopping.set()
        await task
        await counter.flush()
