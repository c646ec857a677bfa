"""Statistics of a day: each request is counted once, also with values in Redis from other programs."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import redis
import redis.asyncio
from pydantic import SecretStr

from gateway.metrics.loop_counters import RequestMetrics
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable, GuardedRedis
from gateway.redis_connection.shards import OneServer, Shards
from gateway.redis_entries.daily_statistics import DailyStatistics
from gateway.settings import Live, RedisSettings, UrlStatsSettings
from tests.limits import LIMIT
from tests.stalling import Stalling
from tests.tier import Clock

NOW = 1_700_000_000.0
DAY = "image:stats:daily:" + datetime.fromtimestamp(NOW, UTC).date().isoformat()


class StalledRedis(GuardedRedis):
    """Waits for a Redis that does not answer, while requests go on."""

    images = 0
    statistics: DailyStatistics

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Time out once images were requested; ten more are requested in each wait."""
        for _ in range(10):
            self.statistics.add_images([f"image-{self.images}"])
            self.images += 1
        if self.images:
            raise CacheUnavailable("no answer")
        yield


async def test_the_number_of_images_in_memory_is_bounded_during_an_outage_of_days() -> None:
    hours = itertools.count()
    server = StalledRedis(redis.asyncio.Redis(), 0.5)
    statistics = server.statistics = DailyStatistics(
        Shards(OneServer(server), "image:"),
        Live(UrlStatsSettings(retention_days=1)),
        max_images=15,
        now=lambda: 3600.0 * next(hours),
    )
    statistics.add_images(["first"])
    for _ in range(60):
        with pytest.raises(CacheUnavailable):
            await statistics.flush()
    held = [gathered.images for gathered in statistics._gathered]
    assert len(held) > 2
    assert sum(map(len, held)) == 15


class Day:
    """Statistics that watch the requests of one route."""

    def __init__(self, shards: Shards, now: Callable[[], float] = lambda: NOW) -> None:
        self.requests = RequestMetrics([1.0])
        self.statistics = DailyStatistics(shards, Live(UrlStatsSettings(retention_days=30)), now=now)
        self.statistics.watch("requests", lambda: self.requests.of_images({"short"}).requests)
        self.statistics.watch("errors", lambda: self.requests.of_images({"short"}).errors)
        self.statistics.watch("response_ms", lambda: self.requests.of_images({"short"}).milliseconds)

    def count(self, number: int) -> None:
        """Count requests of 2.5 ms for as many images; the first one failed."""
        for index in range(number):
            self.requests.record("short", "stream", "502" if index == 0 else "200", 0.0025, None)
        self.statistics.add_images(f"id-{index}" for index in range(number))


@pytest.fixture
async def day(redis_url: str, redis_client: "redis.Redis") -> AsyncIterator[Day]:
    """Statistics in an empty Redis."""
    del redis_client
    async with open_redis(RedisSettings(url=SecretStr(redis_url), timeout=10)) as shards:
        yield Day(shards)


async def test_thirteen_requests_stay_thirteen_with_any_value_under_the_keys(
    day: Day, redis_client: "redis.Redis"
) -> None:
    """The commands before the one that failed were done, and were done again with each try."""
    redis_client.lpush(f"{DAY}:images", "in the way")
    day.count(13)
    for _ in range(10):
        await day.statistics.flush()
    (today,) = await day.statistics.read(1)
    assert (today["requests"], today["errors"], today["distinct_images"]) == (13, 1, 13)


@pytest.mark.parametrize("command", ["set", "lpush", "sadd"])
@pytest.mark.parametrize("key", [DAY, f"{DAY}:images"])
async def test_a_value_of_another_type_is_read_as_nothing_and_replaced(
    day: Day, redis_client: "redis.Redis", command: str, key: str
) -> None:
    getattr(redis_client, command)(key, "HYLL, but no HyperLogLog")
    redis_client.expire(key, 100)
    (today,) = await day.statistics.read(1)
    assert (today["requests"], today["distinct_images"]) == (0, 0)
    day.count(3)
    await day.statistics.flush()
    (today,) = await day.statistics.read(1)
    assert (today["requests"], today["distinct_images"]) == (3, 3)


@pytest.mark.parametrize("garbage", [b"x", b"", b"inf", b"-7", b"1.5", b"1" * 400, b"1" * 5000, b"\xff", b"9" * 19])
async def test_an_invalid_count_is_read_as_zero(day: Day, redis_client: "redis.Redis", garbage: bytes) -> None:
    redis_client.hset(DAY, mapping={"requests": garbage, "hits_local": garbage, b"\xff\xfe": garbage, "": "1"})
    redis_client.expire(DAY, 100)
    (today,) = await day.statistics.read(1)
    assert (today["requests"], today["hits"], today["hit_rate"], today["mean_response_ms"]) == (0, 0, None, None)


async def test_an_invalid_count_restarts_at_zero(day: Day, redis_client: "redis.Redis") -> None:
    redis_client.hset(DAY, mapping={"requests": "x", "errors": 2**63 - 1, "response_ms": "1.5"})
    day.count(4)
    await day.statistics.flush()
    (today,) = await day.statistics.read(1)
    assert (today["requests"], today["errors"], today["mean_response_ms"]) == (4, 1, 2.5)


async def test_more_images_than_one_script_takes(day: Day) -> None:
    day.count(9000)
    await day.statistics.flush()
    (today,) = await day.statistics.read(1)
    assert today["requests"] == 9000
    assert abs(today["distinct_images"] - 9000) < 450  # a HyperLogLog is within about 1 %


async def test_a_stall_of_redis_counts_no_request_twice(stalling: Stalling) -> None:
    day = Day(stalling.shards)
    for _ in range(3):
        day.count(13)
        await stalling.lose_the_answer_to(day.statistics.flush)
    with stalling.server_client() as client:
        async with asyncio.timeout(LIMIT):
            while client.hget(DAY, "requests") != b"39":
                await flushed(day)
            while not await flushed(day):
                pass
        assert client.hmget(DAY, "requests", "errors", "response_ms") == [b"39", b"3", b"97"]


async def flushed(day: Day) -> bool:
    """Write the counts. Return whether Redis has answered in time."""
    try:
        await day.statistics.flush()
    except CacheUnavailable:
        await asyncio.sleep(0.01)
        return False
    return True


async def test_requests_counted_during_an_outage_over_midnight_belong_to_their_day(
    redis_url: str, redis_client: "redis.Redis"
) -> None:
    del redis_client
    clock = Clock()
    async with open_redis(RedisSettings(url=SecretStr(redis_url), timeout=10)) as shards:
        [server] = shards.servers.all
        day = Day(shards, now=clock)
        answering, server.client = server.client, redis.asyncio.Redis(port=1)
        day.count(3)
        with pytest.raises(CacheUnavailable):
            await day.statistics.flush()
        server.client = answering
        clock.now += 24 * 3600
        day.count(2)
        await day.statistics.flush()
        today, yesterday = await day.statistics.read(2)
    assert (today["requests"], yesterday["requests"]) == (2, 3)
    assert (today["distinct_images"], yesterday["distinct_images"]) == (2, 3)
