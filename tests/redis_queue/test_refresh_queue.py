"""The queue: ordered by time, claimed under a lease, losing nothing (LESSONS.md section 2)."""

import asyncio

import redis

from gateway.presign.style_variants import ImageVariant
from gateway.redis_queue.leased_queue import Claim, DeadEntry, LeasedQueue, QueueLimits
from gateway.settings import Live
from tests.tier import NOW, Tier, also_in_a_cluster

A, B, C = ImageVariant("a"), ImageVariant("b"), ImageVariant("c", "thumb")


async def test_due_renewals_are_claimed_in_the_order_of_their_time(tier: Tier) -> None:
    await tier.queue.schedule({B: NOW - 10, A: NOW - 20, C: NOW + 1})
    assert await tier.queue.claim(NOW, 10) == [Claim(A, NOW - 20), Claim(B, NOW - 10)]
    assert await tier.queue.claim(NOW, 10) == []
    assert (await tier.queue.state(NOW))[:3] == (3, 0, 0)


@also_in_a_cluster
async def test_i2_a_claim_of_a_dead_worker_is_visible_again_when_its_lease_ends(tier: Tier) -> None:
    await tier.queue.schedule({A: NOW})
    assert await tier.queue.claim(NOW, 10)
    assert await tier.queue.claim(NOW + 59, 10) == []
    assert await tier.queue.claim(NOW + 60, 10) == [Claim(A, NOW + 60)]


@also_in_a_cluster
async def test_many_workers_share_one_queue_without_double_work(tier: Tier) -> None:
    variants = [ImageVariant(f"id-{number}") for number in range(500)]
    await tier.queue.schedule(dict.fromkeys(variants, NOW))

    async def work() -> list[ImageVariant]:
        mine: list[ImageVariant] = []
        while claims := await tier.queue.claim(NOW, 7):
            mine += [claim.item for claim in claims]
        return mine

    taken = [variant for mine in await asyncio.gather(*(work() for _ in range(5))) for variant in mine]
    assert sorted(taken) == sorted(variants)


@also_in_a_cluster
async def test_i3_i8_repeated_operations_are_idempotent_and_an_id_has_one_entry(tier: Tier) -> None:
    for _ in range(2):
        await tier.queue.schedule({A: NOW})
    assert len(await tier.queue.claim(NOW, 10)) == 1
    for _ in range(2):
        await tier.queue.schedule({A: NOW + 100}, only_if_queued=True)
    assert (await tier.queue.state(NOW))[:3] == (1, 0, 0)
    assert await tier.queue.due_at(A) == NOW + 100
    for _ in range(2):
        await tier.queue.remove([A])
    await tier.queue.schedule({A: NOW + 100}, only_if_queued=True)
    await tier.queue.postpone([A], NOW, 5)
    assert await tier.queue.due_at(A) is None, "what a worker ends with does not restore it"


async def test_ten_thousand_renewals_are_queued_at_once(tier: Tier) -> None:
    await tier.queue.schedule({ImageVariant(f"id-{number}"): NOW for number in range(10_000)})
    assert (await tier.queue.state(NOW))[:3] == (10_000, 10_000, 0)


@also_in_a_cluster
async def test_i5_a_renewal_that_always_fails_is_parked_with_its_reason_and_delays_no_other(tier: Tier) -> None:
    await tier.queue.schedule({A: NOW, B: NOW})
    now, given_up = float(NOW), []
    for _ in range(3):
        claims = await tier.queue.claim(now, 10)
        assert ImageVariant("a") in [claim.item for claim in claims]
        given_up.append(await tier.queue.fail(A, "no such key", now))
        await tier.queue.schedule({B: now + 1000}, only_if_queued=True)
        now += 600
    assert given_up == [False, False, True]
    assert await tier.queue.dead() == [DeadEntry(A, "no such key", now - 600, 3)]
    assert (await tier.queue.state(now))[:3] == (1, 0, 1)


async def test_the_backoff_grows_and_is_bounded(tier: Tier) -> None:
    queue = LeasedQueue(tier.shards, "refresh", limits=Live(QueueLimits(lambda: 1, 100, 1)), random=lambda: 1.0)
    await queue.schedule({A: NOW})
    waits = []
    for _ in range(6):
        await queue.fail(A, "x", NOW)
        waits.append((await queue.due_at(A) or 0) - NOW)
    assert waits == [2, 4, 8, 10, 10, 10]


@also_in_a_cluster
async def test_a_success_resets_the_attempts(tier: Tier) -> None:
    await tier.queue.schedule({A: NOW})
    for _ in range(2):
        await tier.queue.fail(A, "x", NOW)
    await tier.queue.schedule({A: NOW}, only_if_queued=True)
    assert not await tier.queue.fail(A, "x", NOW)


async def test_the_dead_list_is_bounded(tier: Tier) -> None:
    queue = LeasedQueue(tier.shards, "refresh", limits=Live(QueueLimits(lambda: 1, 1, 10)))
    variants = [ImageVariant(f"id-{number}") for number in range(15)]
    await queue.schedule(dict.fromkeys(variants, NOW))
    for variant in variants:
        assert await queue.fail(variant, "x", NOW)
    assert len(await queue.dead()) == 10
    assert len(await queue.dead(3)) == 3


@also_in_a_cluster
async def test_dead_renewals_are_due_again_the_chosen_and_all(tier: Tier) -> None:
    """They are in several shards of a Cluster."""
    queue = LeasedQueue(tier.shards, "refresh", limits=Live(QueueLimits(lambda: 1, 1, 1000)))
    variants = [C, *(ImageVariant(f"id-{number}") for number in range(14))]
    await queue.schedule(dict.fromkeys(variants, NOW))
    for variant in variants:
        assert await queue.fail(variant, "x", NOW)
    unknown = ImageVariant("never-there")
    assert await queue.requeue(NOW, [unknown]) == 0
    assert await queue.requeue(NOW, [*variants[:2], unknown]) == 2
    assert {claim.item for claim in await queue.first(10)} == set(variants[:2])
    assert {entry.item for entry in await queue.dead()} == set(variants[2:])
    assert await queue.requeue(NOW) == 13
    assert (await queue.state(NOW))[:3] == (15, 15, 0)


async def test_an_empty_page_of_the_dead_list_is_not_its_end(tier: Tier, redis_client: "redis.Redis") -> None:
    """Half of the list is removed from its beginning: Redis 8 then answers cursor 0 with nothing, Valkey with more."""
    entry = DeadEntry(A, "x", NOW, 1).encode()
    redis_client.hset("image:refresh:dead", mapping={f"id-{number}": entry for number in range(10_000)})
    for _ in range(10):
        if page := redis_client.hscan("image:refresh:dead", 0, count=500)[1]:
            redis_client.hdel("image:refresh:dead", *page)
    left = redis_client.hlen("image:refresh:dead")
    assert left > 4000
    assert len(await tier.queue.dead(50)) == 50
    assert len(await tier.queue.dead(10_000)) == left
    assert await tier.queue.requeue(NOW) == left
    assert (await tier.queue.state(NOW))[:3] == (left, left, 0)
