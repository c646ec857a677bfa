"""40,000 changed rows on their way to Tencent's services, which count the requests of each second."""

import asyncio
from collections.abc import Iterable

from gateway.purge.intake import PurgeIntake
from gateway.purge.worker import PurgeWorker
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.redis_replicas.replica_store import ReplicaStore
from gateway.service.metrics import Metrics
from gateway_dev.cos_emulator.purge_services import PurgeLimits
from tests.purge.tencent import cloud_of
from tests.tier import Tier

ROWS = 40_000
PER_SECOND = 18  # two below the limit: each of two replicas may be late by one request
LIMITS = PurgeLimits(per_request=1000, per_second=20, per_day=ROWS)


async def test_40_000_tags_leave_within_the_rate_oldest_first_each_once(tier: Tier) -> None:
    ids = [f"image-{number:06}" for number in range(ROWS)]
    metrics = Metrics()
    async with cloud_of(LIMITS, timeout=10) as cloud:  # the machine may be busy

        def replica() -> tuple[PurgeIntake, PurgeWorker]:
            queue, target = PurgeQueue(tier.shards, per_second=PER_SECOND), cloud.edgeone(by_tag=True)
            intake = PurgeIntake(queue, metrics.purge, now=tier.clock.shared, settle=0)
            return intake, PurgeWorker(intake, target, metrics.purge, ReplicaStore(tier.shards))

        replicas = [replica(), replica()]
        for start in range(0, ROWS, 1000):
            for intake, _ in replicas:
                await intake.add(ids[start : start + 1000])
            tier.clock.now += 0.1

        async def drain(worker: PurgeWorker) -> None:
            while not await worker.send_batch():
                pass

        await asyncio.gather(*(drain(worker) for _, worker in replicas))
        services = cloud.services
    assert sorted(services.purged) == [f"image-{image_id}" for image_id in ids], "each once"
    assert len(services.calls) == len(services.purges) == ROWS // LIMITS.per_request, "none was refused for its rate"
    assert metrics.registry.get_sample_value("image_gateway_purges_total", {"result": "sent"}) == ROWS
    assert len(ascending(purge.targets[0] for purge in services.purges)) <= len(replicas), "each sends the oldest first"


def ascending(words: Iterable[str]) -> list[list[str]]:
    """Return the words as the fewest ascending sequences that they can be dealt out into."""
    sequences: list[list[str]] = []
    for word in words:
        fitting = [sequence for sequence in sequences if sequence[-1] < word]
        if fitting:
            max(fitting, key=lambda sequence: sequence[-1]).append(word)
        else:
            sequences.append([word])
    return sequences
