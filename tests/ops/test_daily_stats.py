"""What is gathered of a day while Redis is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from gateway.ops.daily_stats import DailyStats
from gateway.urls.redis_guard import CacheUnavailable, RedisGuard


class Waited(RedisGuard):
    """Waits for a Redis that does not answer, while requests go on."""

    images = 0
    statistics: DailyStats

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """In vain."""
        for _ in range(10):
            self.statistics.request(f"image-{self.images}", 1.0, is_error=False)
            self.images += 1
        if self.images:
            raise CacheUnavailable("no answer")
        yield


async def test_however_long_redis_is_away_no_more_images_are_held() -> None:
    guard = Waited(redis.asyncio.Redis(), "image:", 0.5)
    statistics = guard.statistics = DailyStats(guard, retention_days=1, most_images=15, now=lambda: 1000.0)
    statistics.request("first", 1.0, is_error=False)
    for _ in range(20):
        with pytest.raises(CacheUnavailable):
            await statistics.flush()
    (held,) = statistics._gathered.values()
    assert len(held.images) == 15
    assert held.requests == 201
