"""The model of Redis against a real Redis: the scripts of entries, in sequences that a seed chooses."""

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from gateway.redis_entries.entry_scripts import drop_entries, drop_if_same, keep_entries
from tests.simulation.redis_model import Redis

_SETS = ("used", "expiry", "queue", "attempts", "dead")
_NOW = 1_700_000_000.0
_TOMBSTONES = (b"", b"-aa", b"-bb")


def _command(random: Random) -> tuple[Any, ...]:
    keys = random.sample(["image:url:a", "image:url:b"], random.choice((1, 2)))
    match random.randrange(4):
        case 0:
            call = drop_entries(
                entries=keys,
                sets=_SETS[1:],
                metadata=[],
                tombstone=random.choice(_TOMBSTONES[1:]),
                milliseconds=60_000,
                words=keys,
            )
        case 1:
            foreign = (f"{int(_NOW) + 100} x{mark}".encode() for mark in ("", "\n-aa", "\n-bb"))
            value = random.choice((*_TOMBSTONES[1:], *foreign))
            call = drop_if_same(key=keys[0], value=value, milliseconds=60_000)
        case _:
            values: list[bytes | str | float] = []
            for key in keys:
                end = int(_NOW) + random.choice((100, 200, 9000))
                values += [f"{end} x".encode(), random.choice(_TOMBSTONES), 50.0, key, ""]
            call = keep_entries(
                entries=keys, sets=_SETS, latest_end=int(_NOW) + 1000, now=_NOW, index_life=60, values=values
            )
    return call


@pytest.mark.parametrize("seed", range(20))
def test_the_model_of_redis_keeps_and_drops_entries_as_redis_does(redis_client: redis.Redis, seed: int) -> None:
    random, model = Random(seed), Redis(cast("Any", None), cast("Any", SimpleNamespace()), lambda: _NOW)
    for _ in range(30):
        command = _command(random)
        expected: Any = redis_client.execute_command(*command)  # type: ignore[no-untyped-call]
        assert model.run(command) in (expected, bool(expected) if isinstance(expected, int) else expected)
        for key in ("image:url:a", "image:url:b"):
            assert model.get(key) == redis_client.get(key)
