"""The models of Redis against a real Redis: the scripts of entries and of purges, in sequences that a seed chooses."""

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from gateway.redis_entries.entry_scripts import DROP_ENTRIES, KEEP_ENTRIES, EntryRow
from gateway.redis_queue.purge_queue import PurgeQueue
from tests.simulation.purge_model import PurgeData
from tests.simulation.purge_model import PurgeQueue as QueueModel
from tests.simulation.redis_model import Redis
from tests.tier import Tier

_SETS = {name: name for name in ("expiry", "queue", "attempts", "dead")}
_NOW = 1_700_000_000.0
_TOMBSTONES = (b"", b"-aa", b"-bb")
_FOREIGN = (b"", b"1700000200 x", b"1700000200 x\n-aa", b"1700000200 x\n-bb")


def _command(random: Random) -> tuple[Any, ...]:
    keys = random.sample(["image:url:a", "image:url:b"], random.choice((1, 2)))
    if random.randrange(3) == 0:
        tombstone, rows = random.choice(_TOMBSTONES[1:]), [(key,) for key in keys]
        return DROP_ENTRIES.command(**_SETS, entries=keys, tombstone=tombstone, milliseconds=60_000, rows=rows)
    ends = [int(_NOW) + random.choice((100, 200, 9000)) for _ in keys]
    return KEEP_ENTRIES.command(
        **_SETS,
        used="used",
        entries=keys,
        latest_end=int(_NOW) + 1000,
        now=_NOW,
        index_life=60,
        rows=[
            EntryRow(f"{end} x".encode(), random.choice(_TOMBSTONES), random.choice(_FOREIGN), 50.0, key, "")
            for key, end in zip(keys, ends, strict=True)
        ],
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_model_of_redis_keeps_and_drops_entries_as_redis_does(redis_client: redis.Redis, seed: int) -> None:
    random, model = Random(seed), Redis(cast("Any", None), cast("Any", SimpleNamespace()), lambda: _NOW)
    for _ in range(30):
        command = _command(random)
        expected: Any = redis_client.execute_command(*command)  # type: ignore[no-untyped-call]
        assert model.run(command) in (expected, bool(expected) if isinstance(expected, int) else expected)
        for key in ("image:url:a", "image:url:b"):
            assert model.get(key) == redis_client.get(key)


class ServerOfModel:
    """Runs what the model of the queue does on its data."""

    def __init__(self) -> None:
        self.data = PurgeData()

    async def run(self, command: tuple[Any, ...]) -> list[Any]:
        return [command[1](self.data)]


@pytest.mark.parametrize("seed", range(5))
async def test_the_model_of_purges_queues_and_repeats_as_redis_does(tier: Tier, seed: int) -> None:
    random, queue = Random(seed), PurgeQueue(tier.shards, per_second=1000)
    model, now = QueueModel(cast("Any", ServerOfModel())), _NOW
    for _ in range(40):
        now += random.choice((0.0, 0.25, 0.5, 1.0))
        images, names = (
            random.sample(["a", "b"], random.choice((1, 2))),
            random.sample(["x", "y"], random.choice((1, 2))),
        )
        if random.random() < 0.6:
            for both in (queue, model):
                await both.enqueue(images, now, settle=0.5, replica=names[0])
        else:
            claims, chance = await queue.claim(now, 10), random.random()
            assert await model.claim(now, 10) == claims
            if chance < 0.4:
                for both in (queue, model):
                    await both.free(now, claims[0].due_at if claims and chance < 0.2 else None)
            else:
                assert await model.sent(claims, now, names, 3.0) == await queue.sent(claims, now, names, 3.0)
        assert await model.state(now) == await queue.state(now)
