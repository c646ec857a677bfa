"""The worker of purges: nothing is lost while the target fails."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import redis

from gateway.concurrency.background import background
from gateway.presign.style_variants import ImageVariant
from gateway.purge.intake import SETTLE, PurgeIntake
from gateway.purge.target import PurgeRefused, TargetUnavailable
from gateway.purge.worker import REPEAT_AFTER, PurgeWorker
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shard
from gateway.redis_queue.leased_queue import Claim
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.redis_replicas.replica_store import ReplicaPoint, ReplicaStore
from gateway.service.metrics import Metrics
from tests.tier import NOW, Clock, Tier
from tests.waiting import until

A = ImageVariant("a")


@dataclass
class Edge:
    """A target that records purges, can be turned off, and refuses some images."""

    most: int = 200
    is_away: bool = False
    refuses: set[str] = field(default_factory=set)
    lists_refused: bool = False
    requests: list[list[str]] = field(default_factory=list)
    while_sending: Callable[[], None] = lambda: None

    async def purge(self, image_ids: Sequence[str]) -> None:
        self.while_sending()
        if self.is_away:
            raise TargetUnavailable("status 503")
        refused = self.refuses & set(image_ids)
        if refused and not self.lists_refused:
            raise PurgeRefused("status 400")
        self.requests.append([image_id for image_id in image_ids if image_id not in refused])
        if refused:
            raise PurgeRefused("The target is invalid.", refused)

    async def examine(self) -> str:
        return "the edge answers"


@dataclass
class Purges:
    """A worker with its parts, on a clock of the test's."""

    clock: Clock
    queue: PurgeQueue
    intake: PurgeIntake
    edge: Edge
    metrics: Metrics
    worker: PurgeWorker

    def count(self, result: str) -> float:
        """Return how many purges came to that result."""
        return self.metrics.registry.get_sample_value("image_gateway_purges_total", {"result": result}) or 0.0

    async def drain(self) -> None:
        """Send until nothing is due."""
        while not await self.worker.send_batch():
            pass


def purges_of(tier: Tier, *, max_dead: int = 100) -> Purges:
    """Return a worker that sends added purges at once."""
    queue = PurgeQueue(tier.shards, per_second=1000, max_dead=max_dead)
    edge, metrics = Edge(), Metrics()
    intake = PurgeIntake(queue, metrics.purge, now=tier.clock.shared, settle=0)
    replicas = ReplicaStore(tier.shards)
    worker = PurgeWorker(intake, edge, metrics.purge, replicas, random=lambda: 1.0)
    return Purges(tier.clock, queue, intake, edge, metrics, worker)


@pytest.fixture
def purges(tier: Tier) -> Purges:
    """A worker that sends added purges at once."""
    return purges_of(tier)


async def test_a_purge_waits_until_every_replica_has_dropped_the_image(purges: Purges, tier: Tier) -> None:
    await PurgeIntake(purges.queue, purges.metrics.purge, now=tier.clock.shared).add(["a"])
    for _ in range(2):
        assert 0 < await purges.worker.send_batch() <= 1
        assert purges.edge.requests == []
        tier.clock.now += SETTLE / 2
    await purges.drain()
    assert purges.edge.requests == [["a"]]


async def test_purges_keep_their_places_while_the_target_is_away(
    purges: Purges, caplog: pytest.LogCaptureFixture
) -> None:
    await purges.intake.add(["a"])
    purges.clock.now += 1
    await purges.intake.add(["b"])
    purges.edge.is_away = True
    with caplog.at_level(logging.INFO, "gateway.purge"):
        assert [await purges.worker.send_batch() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
        purges.clock.now += 100
        await purges.worker.send_batch()
        assert purges.metrics.registry.get_sample_value("image_gateway_purge_lag_seconds") == 101
        purges.edge.is_away = False
        await purges.drain()
    assert purges.edge.requests == [["a", "b"]]
    assert (purges.count("postponed"), purges.count("sent")) == (18, 2)
    assert purges.metrics.registry.get_sample_value("image_gateway_purge_lag_seconds") == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_one_refused_image_holds_up_no_other_and_goes_to_the_dead_list(purges: Purges) -> None:
    ids = [f"id-{number}" for number in range(9)]
    await purges.intake.add(ids)
    purges.edge.refuses = {"id-4"}
    await purges.drain()
    sent = [image_id for request in purges.edge.requests for image_id in request]
    assert sorted(sent) == [image_id for image_id in ids if image_id != "id-4"]
    for _attempt in range(4):
        purges.clock.now += 3600
        await purges.drain()
    (dead,) = await purges.queue.dead()
    assert (dead.item.image_id, dead.reason, dead.attempts) == ("id-4", "status 400", 5)
    assert (purges.count("failed"), purges.count("dead")) == (4, 1)
    purges.edge.refuses.clear()
    assert await purges.queue.requeue(purges.clock.now) == 1
    await purges.drain()
    assert purges.edge.requests[-1] == ["id-4"]


async def test_images_that_a_target_lists_as_refused_cost_no_further_request(purges: Purges) -> None:
    await purges.intake.add(["a", "b", "c"])
    purges.edge.refuses, purges.edge.lists_refused = {"b"}, True
    await purges.drain()
    assert purges.edge.requests == [["a", "c"]]
    assert (purges.count("sent"), purges.count("failed")) == (2, 1)
    assert purges.metrics.registry.get_sample_value("image_gateway_purge_queue_length") == 1


async def test_a_full_dead_list_gives_nothing_up(tier: Tier) -> None:
    purges = purges_of(tier, max_dead=1)
    await purges.intake.add(["a", "b"])
    purges.edge.refuses = {"a", "b"}
    for _attempt in range(9):
        purges.clock.now += 3600
        await purges.drain()
    (dead,) = await purges.queue.dead()
    assert purges.metrics.registry.get_sample_value("image_gateway_purge_dead") == 1
    purges.edge.refuses.clear()
    purges.clock.now += 600
    await purges.drain()
    assert purges.edge.requests == [["b" if dead.item.image_id == "a" else "a"]]


async def test_a_target_that_fails_in_the_middle_of_a_split_batch_gets_the_rest_later(purges: Purges) -> None:
    await purges.intake.add(["a", "b", "c", "d"])
    purges.edge.refuses = {"a"}

    def go_away() -> None:
        purges.edge.is_away = bool(purges.edge.requests)

    purges.edge.while_sending = go_away
    assert await purges.worker.send_batch() == 1
    assert purges.edge.requests == [["b"]]
    purges.edge.while_sending = lambda: None
    purges.edge.is_away = False
    await purges.drain()
    assert purges.edge.requests == [["b"], ["c", "d"]]


async def test_what_redis_did_not_take_is_kept_and_queued_later(
    purges: Purges, tier: Tier, redis_client: "redis.Redis"
) -> None:
    redis_client.set("image:purge:queue", "not a sorted set", ex=60)
    await purges.intake.add(["a", "b"])
    await tier.shards.repair()
    await purges.drain()
    assert purges.edge.requests == [["a", "b"]]


async def test_changes_that_arrive_while_many_are_queued_do_not_queue_those_again(
    purges: Purges, redis_client: "redis.Redis"
) -> None:
    """As after an outage: each of the changes sent everything that was kept."""

    def evals() -> int:
        stats: dict[str, dict[str, int]] = redis_client.info("commandstats")
        return stats.get("cmdstat_eval", {"calls": 0})["calls"]

    before = evals()
    many = [f"kept-{number}" for number in range(10_000)]
    await asyncio.gather(purges.intake.add(many), *(purges.intake.add([f"new-{number}"]) for number in range(20)))
    assert redis_client.zcard("image:purge:queue") == 10_020
    assert evals() - before < 100


class AnswersLost(PurgeQueue):
    """A queue whose next answer does not arrive. Redis has done what it says."""

    is_lost = True

    async def claim(self, now: float, most: int, due: dict[Shard, int] | None = None) -> list[Claim]:
        claims = await super().claim(now, most, due)
        if self.is_lost:
            self.is_lost = False
            raise CacheUnavailable("no answer within 0.5 s")
        return claims


async def test_what_redis_gave_without_an_answer_is_sent_soon_and_not_at_the_end_of_its_lease(tier: Tier) -> None:
    purges = purges_of(tier)
    purges.intake.queue = AnswersLost(tier.shards, per_second=1000)
    await purges.intake.add(["a", "b"])
    async with background("purge-worker", purges.worker.run()):
        await until(lambda: purges.edge.requests == [["a", "b"]])


async def test_a_worker_that_stops_gives_its_purges_back_at_once(purges: Purges) -> None:
    """Else a rolling restart would delay them by a lease."""
    await purges.intake.add(["a", "b"])
    is_sending = asyncio.Event()

    async def hang(image_ids: Sequence[str]) -> None:
        is_sending.set()
        await asyncio.Event().wait()

    purges.edge.purge = hang  # type: ignore[method-assign]
    async with background("purge-worker", purges.worker.run()):
        await is_sending.wait()
    await purges.worker.give_back()
    assert await purges.queue.claim(purges.clock.now, 10) == [
        Claim(A, NOW),
        Claim(ImageVariant("b"), NOW),
    ]


@pytest.mark.parametrize("due_in", [24 * 3600, math.inf])
async def test_a_purge_that_a_wrong_clock_queued_is_sent_now(
    purges: Purges, redis_client: "redis.Redis", due_in: float
) -> None:
    redis_client.zadd("image:purge:queue", {"a": NOW + due_in})
    await purges.drain()
    assert purges.edge.requests == [["a"]]


async def listed(purges: Purges, *names: str) -> None:
    """List gateways in Redis, as they do themselves."""
    for name in names:
        point = ReplicaPoint(name, purges.clock.now, 0, 0, "", None, 0, 0, None, None)
        await ReplicaStore(purges.worker.replicas._shards).publish(point)


@pytest.mark.parametrize("deaf", [None, "two"])
async def test_a_change_that_a_listed_gateway_is_not_known_to_have_heard_is_purged_again_when_its_lease_has_ended(
    purges: Purges, deaf: str | None
) -> None:
    await listed(purges, "one", "two")
    for name in {"one", "two"} - {deaf}:
        purges.intake.replica = name
        await purges.intake.add(["a"])
    await purges.drain()
    assert purges.edge.requests == [["a"]]
    assert purges.metrics.registry.get_sample_value("image_gateway_purge_repeats_total") == (1 if deaf else 0)
    assert await purges.queue.due_at(A) == (NOW + REPEAT_AFTER if deaf else None)
    purges.clock.now += REPEAT_AFTER
    await purges.drain()
    assert purges.edge.requests == [["a"], ["a"]] if deaf else [["a"]]
    assert await purges.queue.due_at(A) is None, "it is purged twice at most"


async def test_behind_a_full_list_there_may_be_a_gateway_that_has_not_heard(purges: Purges) -> None:
    names = [f"gateway-{number}" for number in range(100)]
    await listed(purges, "deaf")
    purges.clock.now += 1
    await listed(purges, *names)
    for name in names:
        purges.intake.replica = name
        await purges.intake.add(["a"])
    await purges.drain()
    assert await purges.queue.due_at(A) == purges.clock.now + REPEAT_AFTER


async def test_what_a_gateway_heard_of_an_earlier_change_is_not_known_of_the_next(purges: Purges) -> None:
    await listed(purges, "one", "two")
    for name in ("one", "two", "one"):
        purges.intake.replica = name
        await purges.intake.add(["a"])
    await purges.drain()
    assert await purges.queue.due_at(A) == NOW + REPEAT_AFTER
    purges.clock.now += 3
    purges.intake.replica = "two"  # of the second change, or of a third one that "one" does not hear of
    await purges.intake.add(["a"])
    await purges.drain()
    for _ in range(2):
        purges.clock.now += REPEAT_AFTER
        await purges.drain()
    assert purges.edge.requests == [["a"], ["a"], ["a"]]


async def test_a_gateway_that_heard_twice_of_a_change_is_not_known_to_have_heard_of_the_next(purges: Purges) -> None:
    """As one that has killed a link itself, and is notified of it, too."""
    await listed(purges, "one", "two")
    for name in ("one", "two", "one"):
        purges.intake.replica = name
        await purges.intake.add(["a"])
    purges.clock.now += 1
    purges.intake.replica = "two"
    await purges.intake.add(["a"])
    await purges.drain()
    assert await purges.queue.due_at(A) == NOW + REPEAT_AFTER


async def test_a_purge_that_is_sent_after_all_leases_of_its_change_is_sent_once(purges: Purges) -> None:
    await listed(purges, "one", "two")
    purges.intake.replica = "one"
    purges.edge.is_away = True
    await purges.intake.add(["a"])
    await purges.worker.send_batch()
    purges.clock.now += REPEAT_AFTER
    purges.edge.is_away = False
    await purges.drain()
    assert purges.edge.requests == [["a"]]
    assert await purges.queue.due_at(A) is None


async def test_a_change_of_an_image_whose_purge_has_waited_for_long_is_purged_again(
    purges: Purges, redis_client: "redis.Redis"
) -> None:
    """The first purge is sent at once: a cache may fetch the image from an nginx that has not heard of the change."""
    await listed(purges, "one")
    purges.intake.replica = "one"
    purges.edge.is_away = True
    await purges.intake.add(["a"])
    await purges.worker.send_batch()
    purges.clock.now += 40
    redis_client.delete("image:purge:heard:a")  # its life has ended
    await purges.intake.add(["a"])
    purges.edge.is_away = False
    await purges.drain()
    assert await purges.queue.due_at(A) == purges.clock.now + REPEAT_AFTER


async def test_a_second_purge_survives_the_death_of_who_sends_it(purges: Purges) -> None:
    await listed(purges, "one", "two")
    purges.intake.replica = "one"
    await purges.intake.add(["a"])
    await purges.drain()
    purges.clock.now += REPEAT_AFTER
    assert await purges.queue.claim(purges.clock.now, 10) == [Claim(A, NOW + REPEAT_AFTER)]  # and it is killed
    purges.clock.now += 60
    await purges.drain()
    assert purges.edge.requests == [["a"], ["a"]]
