"""The points of the replicas in a real Redis."""

import logging

import pytest
import redis

from gateway.redis_store.guarded_client import WrongType
from gateway.redis_store.replica_store import ReplicaPoint, ReplicaStore
from tests.tier import Tier

NOW = 1_000_000.0
KEY = "image:replicas"


def point(name: str, at: float) -> ReplicaPoint:
    return ReplicaPoint(name, at, 2.5, 0.0)


async def test_each_replica_is_shown_with_its_last_point_until_it_is_gone(
    tier: Tier, redis_client: "redis.Redis"
) -> None:
    first, second = ReplicaStore(tier.guard), ReplicaStore(tier.guard)
    await first.publish(point("one", NOW))
    await second.publish(point("two", NOW + 1))
    await first.publish(point("one", NOW + 5))
    assert await first.read(NOW + 5) == [point("one", NOW + 5), point("two", NOW + 1)]
    assert await first.read(NOW + 32) == [point("one", NOW + 5)]
    await first.publish(point("one", NOW + 40))
    assert redis_client.zcard(KEY) == 1
    assert 0 < redis_client.ttl(KEY) <= 30


async def test_the_number_of_replicas_is_bounded(tier: Tier, redis_client: "redis.Redis") -> None:
    for number in range(110):
        await ReplicaStore(tier.guard).publish(point(f"{number:03}", NOW + number / 10))
    assert redis_client.zcard(KEY) == 100
    assert len(await ReplicaStore(tier.guard).read(NOW + 11)) == 100


async def test_what_others_wrote_is_left_out_or_made_printable(tier: Tier, redis_client: "redis.Redis") -> None:
    hostile = ["x", "[]", "{}", '["a", 1, 2]', '["a", 1, 2, "NaN"]', '["a", 1, -2, 3]', "[1, 1, 1, 1]", "[" * 5000]
    redis_client.zadd(KEY, {**dict.fromkeys(hostile, NOW), '["a\\u001b\\u202e<b>", 1, 2, 3]': NOW})
    redis_client.expire(KEY, 30)
    assert await ReplicaStore(tier.guard).read(NOW) == [ReplicaPoint("a??<b>", 1, 2, 3)]


async def test_a_value_of_the_wrong_type_is_reported_and_replaced(
    tier: Tier, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    redis_client.set(KEY, "x", ex=1000)
    store = ReplicaStore(tier.guard)
    caplog.set_level(logging.WARNING)
    with pytest.raises(WrongType):
        await store.read(NOW)
    assert redis_client.get(KEY) == b"x"  # reading changes nothing
    with pytest.raises(WrongType):
        await store.publish(point("one", NOW))
    assert "redis key removed: key=image:replicas type=string expected=zset" in caplog.messages
    await store.publish(point("one", NOW + 5))
    assert await store.read(NOW + 5) == [point("one", NOW + 5)]
