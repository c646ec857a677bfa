"""The queue of purges: each changed image once, the oldest first, and nothing lost."""

import asyncio
import time

import pytest
import redis

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_queue.leased_queue import Claim
from gateway.redis_queue.purge_queue import PurgeQueue
from tests.tier import NOW, Tier


@pytest.fixture
def queue(tier: Tier) -> PurgeQueue:
    """A queue of 3 purges at most, sent 20 a second."""
    return PurgeQueue(tier.shards, per_second=20, max_queued=3)


async def test_an_image_that_waits_keeps_its_time(queue: PurgeQueue) -> None:
    await queue.enqueue(["a"], NOW)
    await queue.enqueue(["b", "a"], NOW + 5)
    assert await queue.claim(NOW + 5, 10) == [Claim(ImageVariant("a"), NOW), Claim(ImageVariant("b"), NOW + 5)]


async def test_a_sent_purge_leaves_the_queue_and_the_dead_list(queue: PurgeQueue) -> None:
    """It was given up before, and the image has changed again since."""
    await queue.enqueue(["a", "b"], NOW)
    for image_id in ("a", "b"):
        while not await queue.fail(ImageVariant(image_id), "refused", NOW):
            pass
    await queue.enqueue(["a"], NOW)
    await queue.sent(await queue.claim(NOW, 10), NOW)
    assert [entry.item for entry in await queue.dead()] == [ImageVariant("b")]
    assert (await queue.state(NOW)).next_due is None


async def test_an_image_that_changes_while_its_purge_is_sent_is_purged_again(queue: PurgeQueue) -> None:
    await queue.enqueue(["a"], NOW)
    claims = await queue.claim(NOW, 10)
    await queue.enqueue(["a"], NOW + 2)
    await queue.sent(claims, NOW)
    assert await queue.claim(NOW + 2, 10) == [Claim(ImageVariant("a"), NOW + 2)]


async def test_a_claim_that_another_worker_has_since_taken_is_not_removed(queue: PurgeQueue) -> None:
    await queue.enqueue(["a"], NOW)
    lapsed = await queue.claim(NOW, 10)
    assert await queue.claim(NOW + 60, 10) == [Claim(ImageVariant("a"), NOW + 60)]
    await queue.sent(lapsed, NOW)
    await queue.free(NOW)
    assert await queue.due_at(ImageVariant("a")) == NOW + 120


async def test_the_time_is_that_of_redis(queue: PurgeQueue, redis_client: "redis.Redis") -> None:
    """The clocks of two gateways differ: one that is ahead would purge before the others have heard."""
    before = redis_client.time()
    now = await queue.now()
    assert before <= divmod(round(now * 1e6), 10**6) <= redis_client.time()


async def test_freed_purges_are_due_again_before_what_was_due_after_them(queue: PurgeQueue) -> None:
    await queue.enqueue(["a"], NOW - 9)
    await queue.enqueue(["b"], NOW - 4.25)
    await queue.enqueue(["c"], NOW - 2)
    claims = await queue.claim(NOW, 2)
    await queue.free(NOW, claims[0].due_at)
    assert await queue.claim(NOW, 2) == [claims[0], Claim(ImageVariant("b"), NOW - 9)]


async def test_the_queue_is_bounded_and_counts_what_finds_no_room(queue: PurgeQueue) -> None:
    assert await queue.enqueue(["a", "b"], NOW) == 0
    assert await queue.enqueue(["b", "c", "d", "e"], NOW) == 2
    assert (await queue.state(NOW)).queued == 3


async def test_words_that_are_no_image_ids_are_removed(queue: PurgeQueue, redis_client: "redis.Redis") -> None:
    redis_client.zadd("image:purge:queue", {b"\xff": 1, b"a|": 2, b"a": 3})
    assert await queue.claim(NOW, 10) == [Claim(ImageVariant("a"), 3)]
    assert redis_client.zcard("image:purge:queue") == 1


async def test_slots_are_shared_by_all_replicas(tier: Tier, queue: PurgeQueue) -> None:
    other = PurgeQueue(tier.shards, per_second=20)
    began = time.time()
    waits = [await replica.take_slot() for replica in (queue, other, queue, other)]
    spent = time.time() - began
    assert waits[0] == 0
    for number, wait in enumerate(waits):
        assert number * 0.05 - spent <= wait <= number * 0.05 + 0.001


@pytest.mark.parametrize("value", ["garbage", "1e300", "-5", "inf", "nan"])
async def test_an_invalid_slot_delays_nothing(tier: Tier, redis_client: "redis.Redis", value: str) -> None:
    queue = PurgeQueue(tier.shards, per_second=0.1)
    redis_client.set("image:purge:pace", value, ex=60)
    assert await queue.take_slot() == 0
    assert await queue.take_slot() > 0


async def test_keys_of_another_type_are_repaired(queue: PurgeQueue, tier: Tier, redis_client: "redis.Redis") -> None:
    redis_client.hset("image:purge:pace", "a", "b")
    redis_client.set("image:purge:queue", "a", ex=60)
    for call in (queue.take_slot(), queue.state(NOW)):
        with pytest.raises(CacheUnavailable):
            await call
    await tier.maintenance.repair_if_needed()
    assert (await queue.take_slot(), (await queue.state(NOW)).next_due) == (0, None)


async def test_many_replicas_queue_a_change_once(tier: Tier, queue: PurgeQueue) -> None:
    others = [PurgeQueue(tier.shards, per_second=20) for _ in range(4)]
    await asyncio.gather(
        *(replica.enqueue(["a", "b"], NOW + number) for number, replica in enumerate((queue, *others)))
    )
    claims = [claim for replica in (queue, *others) for claim in await replica.claim(NOW + 9, 1)]
    assert sorted(claim.item.image_id for claim in claims) == ["a", "b"]
