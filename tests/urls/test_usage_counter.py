"""Usage counts, kept in memory and written to Redis."""

import asyncio

import redis
from pydantic import SecretStr

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.client import open_redis
from gateway.redis_entries.usage_store import Usage, UsageStore
from gateway.settings import RedisSettings
from gateway.urls.usage_counter import UsageCounter
from tests.limits import LIMIT
from tests.stalling import Stalling
from tests.tier import Clock, Tier
from tests.waiting import until

A = ImageVariant("a")


async def test_use_is_counted_in_memory_and_written_together(tier: Tier) -> None:
    counter = UsageCounter(tier.usage, now=tier.clock)
    for _ in range(3):
        counter.accessed("a")
    counter.refreshed(A)
    assert await tier.usage_of(A) == Usage()
    assert await counter.usage(A) == Usage(3, 1, tier.clock())
    await counter.flush()
    await counter.flush()
    assert await tier.usage_of(A) == await counter.usage(A) == Usage(3, 1, tier.clock())


async def test_use_that_cannot_be_written_is_kept_within_bounds(tier: Tier, redis_client: "redis.Redis") -> None:
    counter = UsageCounter(tier.usage, max_variants=2, now=tier.clock)
    for image_id in ("a", "b", "c", "a"):
        counter.accessed(image_id)
    for name in ("used", "hits", "refreshes"):
        redis_client.set(f"image:index:{name}", "in the way", ex=100)
    await counter.flush()
    await tier.maintenance.repair_if_needed()
    await counter.flush()
    assert (await tier.usage_of(A)).access_count == 2
    assert (await tier.usage_of(ImageVariant("b"))).access_count == 1
    assert (await tier.usage_of(ImageVariant("c"))).access_count == 0


async def test_a_stall_of_redis_counts_no_use_twice(stalling: Stalling, clock: Clock) -> None:
    counter = UsageCounter(UsageStore(stalling.shards), now=clock)
    for _ in range(3):
        for number in range(400):
            counter.accessed(f"id-{number}")
        counter.refreshed(A)
        await stalling.lose_the_answer_to(counter.flush)
    with stalling.server_client() as client:

        def counted() -> list[float]:
            return [
                sum(score for _, score in client.zrange(f"image:index:{name}", 0, -1, withscores=True))
                for name in ("hits", "refreshes")
            ]

        async with asyncio.timeout(LIMIT):
            while counted() != [1200, 3] or client.zcard("image:index:used") < 400:
                await counter.flush()
                await asyncio.sleep(0.01)
        await counter.flush()
        assert counted() == [1200, 3]

        async def is_known() -> bool:
            return await counter.usage(ImageVariant("id-7")) == Usage(3, 0, clock())

        await until(is_known)


async def test_the_last_access_is_the_time_of_the_first_flush_after_it(tier: Tier, clock: Clock) -> None:
    """An outage of Redis between the first flush and the next does not change it."""
    async with open_redis(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))) as unreachable:
        answering, tier.server.client = tier.server.client, unreachable.servers.all[0].client
        counter = UsageCounter(tier.usage, now=clock)
        counter.accessed("a")
        clock.now += 1
        await counter.flush()
        tier.server.client = answering
    clock.now += 3600
    counter.accessed("b")
    await counter.flush()
    assert await tier.usage_of(A) == Usage(1, 0, clock() - 3600)
    assert await tier.usage_of(ImageVariant("b")) == Usage(1, 0, clock())


async def test_each_flush_reports_the_images_used_since_the_last(clock: Clock) -> None:
    reported: list[str] = []
    counter = UsageCounter(None, report_images=reported.extend, now=clock)
    counter.accessed("a")
    counter.accessed("a")
    counter.refreshed(ImageVariant("c"))
    await counter.flush()
    await counter.flush()
    counter.accessed("b")
    await counter.flush()
    assert reported == ["a", "b"]


async def test_an_access_count_is_read_once_and_goes_on_by_itself(tier: Tier, redis_client: "redis.Redis") -> None:
    counter = UsageCounter(tier.usage, now=tier.clock)
    await tier.count({A: Usage(10, last_access=tier.clock())})
    counter.accessed("a")
    assert await counter.access_count(A) == 11
    redis_client.zadd("image:index:hits", {"a": 1000})  # not seen before the total is read again
    counter.accessed("a")
    assert await counter.access_count(A) == 12
    await counter.flush()
    assert await counter.access_count(A) == 12
    counter.accessed("a")
    assert await counter.access_count(A) == 13
    tier.clock.now += 30
    assert await counter.access_count(A) == 1003
    await counter.flush()
    assert await counter.access_count(A) == 1003
    redis_client.zadd("image:index:hits", {"a": 2000})
    tier.clock.now -= 3600
    assert await counter.access_count(A) == 2000, "the clock was set back"


async def test_simultaneous_access_counts_are_one_command(tier: Tier, redis_client: "redis.Redis") -> None:
    counter = UsageCounter(tier.usage, now=tier.clock)
    variants = [ImageVariant(f"id-{number}") for number in range(100)]
    for variant in variants:
        counter.accessed(variant.image_id)
    await tier.server.ping()
    redis_client.config_resetstat()
    assert await asyncio.gather(*map(counter.access_count, variants)) == [1] * 100
    assert redis_client.info("commandstats")["cmdstat_zmscore"]["calls"] == 1


async def test_a_count_that_is_being_written_is_not_remembered(stalling: Stalling, clock: Clock) -> None:
    """It is unknown whether Redis has added a batch whose answer got lost: no total may contain it twice for long."""
    counter = UsageCounter(UsageStore(stalling.shards), now=clock)
    for _ in range(3):
        counter.accessed("a")
    await stalling.lose_the_answer_to(counter.flush)
    counter.accessed("a")
    assert await counter.access_count(A) in (1, 4), "without the batch, or with it"
    async with asyncio.timeout(LIMIT):
        while (await counter.usage(A)).access_count != 4:
            await counter.flush()
            await asyncio.sleep(0.01)
    assert await counter.access_count(A) == 4
    counter.accessed("a")
    assert await counter.access_count(A) == 5


async def test_without_redis_the_access_count_is_what_was_known_and_what_this_process_counted(
    tier: Tier, clock: Clock
) -> None:
    await tier.count({A: Usage(10, last_access=clock())})
    counter = UsageCounter(tier.usage, now=clock)
    counter.accessed("a")
    assert await counter.access_count(A) == 11
    async with open_redis(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))) as unreachable:
        answering, tier.server.client = tier.server.client, unreachable.servers.all[0].client
        counter.accessed("a")
        counter.accessed("b")
        await counter.flush()
        clock.now += 60
        counter.accessed("b")
        assert await counter.access_count(A) == 12
        assert await counter.access_count(ImageVariant("b")) == 2
        tier.server.client = answering
    alone = UsageCounter(None, now=clock)
    alone.accessed("a")
    await alone.flush()
    assert await alone.usage(A) == Usage(1, 0, clock())
    alone.accessed("a")
    assert await alone.access_count(A) == 2


async def test_the_numbers_of_ten_thousand_variants_are_remembered(tier: Tier, redis_client: "redis.Redis") -> None:
    counter = UsageCounter(tier.usage, now=tier.clock)
    ids = [f"id-{number}" for number in range(10_001)]
    for first in range(0, len(ids), 200):  # one command after the other, each within the time limit
        await asyncio.gather(*(counter.access_count(ImageVariant(image_id)) for image_id in ids[first : first + 200]))
    redis_client.zadd("image:index:hits", dict.fromkeys(ids, 7))
    redis_client.expire("image:index:hits", 100)
    assert [await counter.access_count(ImageVariant(image_id)) for image_id in (ids[1], ids[-1])] == [0, 0]
    assert await counter.access_count(ImageVariant(ids[0])) == 7, "the number that was read first made room"
