"""The points of the replicas in a real Redis."""

import json
import logging
import time

import pytest
import redis

from gateway.findings.finding import Finding
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.replica_store import ReplicaPoint, ReplicaStore
from tests.tier import Tier

NOW = 1_000_000.0
KEY = "image:replicas"


LATE = Finding("renewals_late", "warning", {"seconds": 90}, NOW)


def point(name: str, at: float, *symptoms: Finding) -> ReplicaPoint:
    return ReplicaPoint(
        name=name,
        at=at,
        requests_per_second=2.5,
        errors_per_second=0,
        version="1.2.3",
        entry_key="0a1b2c3d",
        started=at - 100,
        streams=7,
        memory_bytes=90_000_000,
        open_files=None,
        symptoms=symptoms,
    )


async def test_each_replica_is_shown_with_its_last_point_until_it_is_gone(
    tier: Tier, redis_client: "redis.Redis"
) -> None:
    first, second = ReplicaStore(tier.shards), ReplicaStore(tier.shards)
    await first.publish(point("one", NOW))
    await second.publish(point("two", NOW + 1))
    await first.publish(point("one", NOW + 5, LATE))
    assert await first.read() == [point("one", NOW + 5, LATE), point("two", NOW + 1)]
    redis_client.zincrby(KEY, -31, point("two", NOW + 1).encode())
    redis_client.zadd(KEY, {"of another program": time.time() + 3600})
    await first.publish(point("one", NOW + 40))
    assert await first.names() == {"one"}
    assert 0 < redis_client.ttl(KEY) <= 30
    await first.withdraw()
    assert redis_client.zcard(KEY) == 0


async def test_a_replica_with_a_wrong_clock_is_listed_and_removes_no_other(tier: Tier) -> None:
    for name, ahead in ("right", 0), ("slow", -600), ("fast", 600), ("right", 1):
        await ReplicaStore(tier.shards).publish(point(name, NOW + ahead))
    assert await ReplicaStore(tier.shards).names() == {"right", "slow", "fast"}


async def test_the_number_of_replicas_is_bounded(tier: Tier, redis_client: "redis.Redis") -> None:
    for number in range(110):
        await ReplicaStore(tier.shards).publish(point(f"{number:03}", NOW + number / 10))
    assert redis_client.zcard(KEY) == 100
    assert len(await ReplicaStore(tier.shards).read()) == 100


def member(**changes: object) -> str:
    return json.dumps(point("one", NOW, LATE).as_json() | changes)


async def test_what_others_wrote_is_left_out_or_made_printable(tier: Tier, redis_client: "redis.Redis") -> None:
    bucket: dict[str, object] = {"name": "bucket_paused", "level": "bad", "values": {"bucket": "a\x1b"}}
    wrong: list[dict[str, object]] = [{"name": "A-b"}, {"level": "x"}, {"values": {"b": []}}]
    hostile = [
        *("x", "[]", "{}", '["a", 1, 2, 3]', "[" * 5000, '"a"', "null"),
        *(member(at=-1), member(streams="many"), member(at=float("nan")), member(started=float("inf"))),
        *(member(name="x" * 101), member(name=1), member(symptoms=[{}]), member(symptoms=[bucket] * 51)),
        *(member(symptoms=[bucket | change]) for change in wrong),
        member(symptoms=[bucket | {"values": {"v": float("inf")}}]),
        *(member(events=[{"name": "reload", "at": at}]) for at in (float("inf"), float("nan"))),
        member(symptoms=[bucket | {"values": {f"v{'a' * number}": 1 for number in range(9)}}]),
    ]
    newer = member(name="a\x1b\u202e<b>", symptoms=[bucket], of_a_later_version=[1])
    redis_client.zadd(KEY, {**dict.fromkeys(hostile, NOW), newer: NOW})
    redis_client.expire(KEY, 30)
    paused = Finding("bucket_paused", "bad", {"bucket": "a?"})
    assert await ReplicaStore(tier.shards).read() == [point("a??<b>", NOW, paused)]


async def test_a_value_of_the_wrong_type_is_reported_and_replaced(
    tier: Tier, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    redis_client.set(KEY, "x", ex=1000)
    store = ReplicaStore(tier.shards)
    caplog.set_level(logging.WARNING)
    with pytest.raises(CacheUnavailable):
        await store.read()
    assert redis_client.get(KEY) == b"x"  # reading changes nothing
    with pytest.raises(CacheUnavailable):
        await store.publish(point("one", NOW))
    await tier.maintenance.repair_if_needed()
    assert "redis key removed: key=image:replicas type=string expected=zset" in caplog.messages
    await store.publish(point("one", NOW + 5))
    assert await store.read() == [point("one", NOW + 5)]
