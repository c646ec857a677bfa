"""Statistics of a day: none twice, none lost, and what others write to Redis in nobody's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import redis
import redis.asyncio
from pydantic import SecretStr

from gateway.redis_store.client import open_redis
from gateway.redis_store.daily_statistics import DailyStatistics
from gateway.redis_store.guarded_client import CacheUnavailable, GuardedRedis
from gateway.settings import RedisSettings
from tests.stalling import Stalling

NOW = 1_700_000_000.0
DAY = "image:stats:daily:" + datetime.fromtimestamp(NOW, UTC).date().isoformat()


class Waited(GuardedRedis):
    """Waits for a Redis that does not answer, while requests go on."""

    images = 0
    statistics: DailyStatistics

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
    statistics = guard.statistics = DailyStatistics(guard, retention_days=1, most_images=15, now=lambda: 1000.0)
    statistics.request("first", 1.0, is_error=False)
    for _ in range(20):
        with pytest.raises(CacheUnavailable):
            await statistics.flush()
    (held,) = statistics._gathered.values()
    assert statistics._unsettled is not None
    ((waiting),) = statistics._unsettled.images.values()
    assert len(held.images | waiting) == 15
    assert held.requests == 200


@pytest.fixture
async def statistics(redis_url: str, redis_client: "redis.Redis") -> AsyncIterator[DailyStatistics]:
    """In an empty Redis."""
    del redis_client
    async with open_redis(RedisSettings(url=SecretStr(redis_url))) as client:
        yield DailyStatistics(GuardedRedis(client, "image:", 1.0), retention_days=30, now=lambda: NOW)


def count_requests(statistics: DailyStatistics, number: int) -> None:
    for one in range(number):
        statistics.request(f"id-{one}", 2.5, is_error=one == 0)


async def test_thirteen_requests_stay_thirteen_whatever_is_under_the_keys(
    statistics: DailyStatistics, redis_client: "redis.Redis"
) -> None:
    """The commands before the one that failed were done, and were done again with each try."""
    redis_client.lpush(f"{DAY}:images", "in the way")
    count_requests(statistics, 13)
    for _ in range(10):
        await statistics.flush()
    (today,) = await statistics.read(1)
    assert (today["requests"], today["errors"], today["distinct_images"]) == (13, 1, 13)


@pytest.mark.parametrize("command", ["set", "lpush", "sadd"])
@pytest.mark.parametrize("key", [DAY, f"{DAY}:images"])
async def test_a_value_of_another_type_is_read_as_nothing_and_replaced(
    statistics: DailyStatistics, redis_client: "redis.Redis", command: str, key: str
) -> None:
    getattr(redis_client, command)(key, "HYLL, but no HyperLogLog")
    redis_client.expire(key, 100)
    (today,) = await statistics.read(1)
    assert (today["requests"], today["distinct_images"]) == (0, 0)
    count_requests(statistics, 3)
    await statistics.flush()
    (today,) = await statistics.read(1)
    assert (today["requests"], today["distinct_images"]) == (3, 3)


@pytest.mark.parametrize("garbage", [b"x", b"", b"inf", b"-7", b"1.5", b"1" * 400, b"1" * 5000, b"\xff", b"9" * 19])
async def test_a_count_that_is_none_is_read_as_zero(
    statistics: DailyStatistics, redis_client: "redis.Redis", garbage: bytes
) -> None:
    redis_client.hset(DAY, mapping={"requests": garbage, "hits_local": garbage, b"\xff\xfe": garbage, "": "1"})
    redis_client.expire(DAY, 100)
    (today,) = await statistics.read(1)
    assert (today["requests"], today["hits"], today["hit_rate"], today["mean_response_ms"]) == (0, 0, None, None)


async def test_a_count_that_cannot_be_added_to_begins_anew(
    statistics: DailyStatistics, redis_client: "redis.Redis"
) -> None:
    redis_client.hset(DAY, mapping={"requests": "x", "errors": 2**63 - 1, "response_ms": "1.5"})
    count_requests(statistics, 4)
    await statistics.flush()
    (today,) = await statistics.read(1)
    assert (today["requests"], today["errors"], today["mean_response_ms"]) == (4, 1, 2.5)


async def test_more_images_than_one_script_takes(statistics: DailyStatistics) -> None:
    count_requests(statistics, 9000)
    await statistics.flush()
    (today,) = await statistics.read(1)
    assert today["requests"] == 9000
    assert abs(today["distinct_images"] - 9000) < 450  # a HyperLogLog is within about 1 %


async def test_a_stall_of_redis_counts_no_request_twice(stalling: Stalling) -> None:
    statistics = DailyStatistics(stalling.guard, retention_days=30, now=lambda: NOW)
    for _ in range(3):
        count_requests(statistics, 13)
        await stalling.lose_the_answer_to(statistics.flush)
    with stalling.server_client() as client:
        async with asyncio.timeout(10):
            while client.hget(DAY, "requests") != b"39":
                try:
                    await statistics.flush()
                except CacheUnavailable:
                    await asyncio.sleep(0.01)
        await statistics.flush()
        assert client.hmget(DAY, "requests", "errors", "response_ms") == [b"39", b"3", b"97"]
