"""Invalid values in Redis fail no request, block no batch, and are repaired."""

import asyncio
import math
from collections import Counter

import pytest
import redis

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.usage_store import Usage
from gateway.redis_queue.leased_queue import DeadEntry
from tests.limits import LIMIT
from tests.tier import NOW, Tier
from tests.urls.test_refresh_batch import drained, keep

A, B = ImageVariant("a"), ImageVariant("b")
# No gateway writes any of these: NUL, no id, no style, a style that can be none, not ASCII.
WORDS = [b"a\0b", b"", b"a|", b"a|b|c", b"|thumb", b"a|THUMB", b"a b", b"../a", b"\xff\xfe", b"a" * 200]
QUEUE, DEAD, ATTEMPTS = "image:refresh:queue", "image:refresh:dead", "image:refresh:attempts"


async def test_an_invalid_image_id_does_not_block_its_batch(tier: Tier, redis_client: "redis.Redis") -> None:
    await keep(tier, "a")
    tier.clock.now += 3000
    redis_client.zadd(QUEUE, dict.fromkeys(WORDS, 1.0))
    assert await drained(tier) == Counter(renewed=1)
    assert redis_client.zrange(QUEUE, 0, -1) == [b"a"]
    assert {word for ids in tier.table.queries for word in ids} == {"a"}


async def test_an_entry_whose_end_is_beyond_that_of_any_url_is_renewed(tier: Tier, redis_client: "redis.Redis") -> None:
    await keep(tier, "a")
    tier.clock.now += 3000
    redis_client.set("image:url:a", b"99999999999 {}", ex=60)
    async with asyncio.timeout(LIMIT):
        assert await drained(tier) == Counter(renewed=1)


async def test_an_infinite_time_is_not_returned_and_is_due_now(tier: Tier, redis_client: "redis.Redis") -> None:
    redis_client.zadd(QUEUE, {"a": math.inf, "b": -math.inf, "c": 1e300})
    assert [await tier.queue.due_at(variant) for variant in (A, B)] == [None, None]
    assert all(math.isfinite(claim.due_at) for claim in await tier.queue.first(10))
    claims = await tier.queue.claim(NOW, 10)
    assert {claim.item: claim.due_at for claim in claims} == dict.fromkeys((A, B, ImageVariant("c")), NOW)
    assert await tier.queue.due_at(A) == NOW + 60


async def test_an_invalid_number_of_attempts_counts_as_zero(tier: Tier, redis_client: "redis.Redis") -> None:
    for garbage in ("x", "inf", "nan", "-5", "1e300", ""):
        await tier.queue.schedule({A: NOW})
        redis_client.hset(ATTEMPTS, "a", garbage)
        assert [await tier.queue.fail(A, "no such key", NOW) for _ in range(3)] == [False, False, True]


UNREADABLE = [
    *(b"nonsense", b"\xff", b"[]", b"7", b"null", b"[" * 100_000),
    b'{"reason": "x", "at": "yesterday", "attempts": 1}',
    b'{"reason": "x", "at": 1, "attempts": ' + b"1" * 5000 + b"}",
]


@pytest.mark.parametrize("text", UNREADABLE)
async def test_an_unreadable_entry_of_the_dead_list_is_reported_as_such(
    tier: Tier, redis_client: "redis.Redis", text: bytes
) -> None:
    redis_client.hset(DEAD, "a", text)
    assert await tier.queue.dead() == [DeadEntry(A, "unreadable entry", 0.0, 0)]


async def test_an_entry_of_the_dead_list_is_shown_within_bounds(tier: Tier, redis_client: "redis.Redis") -> None:
    redis_client.hset(DEAD, "a", b'{"reason": "\\u001b[31m\\ud800\\n", "at": Infinity, "attempts": NaN}')
    redis_client.hset(DEAD, "b", b'{"reason": "' + b"x" * 10_000 + b'", "at": 1e300, "attempts": -1}')
    shown = {entry.item: entry for entry in await tier.queue.dead()}
    assert shown[A] == DeadEntry(A, "?[31m??", 0.0, 0)
    assert shown[B] == DeadEntry(B, "x" * 500, 0.0, 0)


async def test_an_invalid_id_leaves_the_dead_list_when_it_is_requeued(tier: Tier, redis_client: "redis.Redis") -> None:
    redis_client.hset(DEAD, mapping=dict.fromkeys([*WORDS, b"a"], b"{}"))
    assert [entry.item for entry in await tier.queue.dead()] == [A]
    assert await tier.queue.requeue(NOW) == 1
    assert not redis_client.exists(DEAD)
    assert redis_client.zrange(QUEUE, 0, -1) == [b"a"]


@pytest.mark.parametrize("score", [math.inf, -math.inf, -5.0])
async def test_an_impossible_count_is_ignored(tier: Tier, redis_client: "redis.Redis", score: float) -> None:
    await keep(tier, "a")
    for name in ("hits", "refreshes"):
        redis_client.zadd(f"image:index:{name}", {"a": score})
        redis_client.expire(f"image:index:{name}", 100)
    assert (await tier.usage_of(A))[:2] == (0, 0)
    tier.clock.now += 3000
    assert await drained(tier) == Counter(renewed=1)


@pytest.mark.parametrize("score", [math.inf, -math.inf])
async def test_infinite_counts_and_times_begin_anew_with_the_next_use(
    tier: Tier, redis_client: "redis.Redis", score: float
) -> None:
    for name in ("hits", "refreshes", "used"):
        redis_client.zadd(f"image:index:{name}", {"a": score})
    assert await tier.usage_of(A) == Usage()
    await tier.count({A: Usage(3, 2, NOW)})
    assert await tier.usage_of(A) == Usage(3, 2, NOW)


async def test_a_url_that_would_live_for_ever_is_not_counted(tier: Tier, redis_client: "redis.Redis") -> None:
    await keep(tier, "a")
    redis_client.zadd("image:index:expiry", {"b": math.inf})
    assert await tier.usage.cached(tier.clock(), 900) == (1, 0)


async def test_an_invalid_id_is_not_hot_and_does_not_hinder_trimming(tier: Tier, redis_client: "redis.Redis") -> None:
    for number in range(101):
        tier.clock.now += 1
        await keep(tier, f"id-{number}")
    redis_client.zadd("image:index:used", dict.fromkeys(WORDS, 0.0))
    redis_client.zadd("image:index:hits", {**dict.fromkeys(WORDS, 9e9), "a": 2, "a|thumb": 3, "b": 1})
    redis_client.expire("image:index:hits", 100)
    assert await tier.usage.hottest(2) == ["a", "b"]
    await tier.maintenance.trim()
    await tier.maintenance.trim()
    assert redis_client.zcard("image:index:used") == 100
    assert not redis_client.exists("image:url:id-0")


@pytest.mark.parametrize("name", ["hits", "refreshes", "used", "expiry"])
async def test_a_value_of_the_wrong_type_is_repaired_after_a_failed_pipeline(
    tier: Tier, redis_client: "redis.Redis", name: str
) -> None:
    key = f"image:index:{name}"
    redis_client.set(key, "in the way", ex=100)
    await tier.maintenance.repair_if_needed()
    assert redis_client.type(key) == b"string"  # nothing has met it
    with pytest.raises(CacheUnavailable):
        await tier.usage.remove([A])
    await tier.maintenance.repair_if_needed()
    assert not redis_client.exists(key)


@pytest.mark.parametrize("name", ["hits", "refreshes", "used"])
async def test_a_batch_is_added_once_despite_a_value_of_the_wrong_type(
    tier: Tier, redis_client: "redis.Redis", name: str
) -> None:
    redis_client.lpush(f"image:index:{name}", "in the way")
    redis_client.expire(f"image:index:{name}", 100)
    batch = tier.usage.batch(tier.shards.first, {A: Usage(3, 2, NOW)})
    for _ in range(3):
        assert isinstance((await tier.usage.write([batch]))[tier.shards.first], CacheUnavailable)
    await tier.maintenance.repair_if_needed()
    assert not await tier.usage.write([batch])
    assert await tier.usage_of(A) == Usage(3, 2, NOW)
