"""A queue in Redis: a sorted set ordered by time, with leases, attempts and a dead list.

The score of an item in ``<name>:queue`` is the time at which the item is due. The items that a dead worker claimed come
due again when its lease ends. Every other operation is idempotent. Each script touches a single key: in a Cluster the
slots of the keys differ. The codec of a queue defines its items and their encoding. The queues of renewals and of
purges have different codecs.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from gateway.redis_store.dead_entry import DeadEntry
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.lua_script import Key, lua_script
from gateway.redis_store.queue_codec import Codec

T = TypeVar("T")

_BACKOFF_BASE = 1.0
_ATTEMPTS_LIFE = 30 * 24 * 3600
_SCANNED_AT_ONCE = 500
# Seconds from now. A score beyond was written by another program and would never be due.
_HORIZON = 10 * 365 * 24 * 3600


@lua_script("""
local never = redis.call('ZRANGEBYSCORE', queue, '(' .. latest, '+inf', 'LIMIT', 0, most)
for _, word in ipairs(never) do
    redis.call('ZADD', queue, 'XX', now, word)
end
local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #due, 2 do
    redis.call('ZADD', queue, 'XX', lease_end, due[i])
end
return due
""")
def claim_due(*, queue: Key, now: float, lease_end: float, most: int, latest: float) -> None:
    """Claim up to ``most`` words until the end of the lease. Return the words and their scores.

    ``latest``: the latest time that a gateway queues for. A word with a later score is due now.
    """


@lua_script("""
local before = tonumber(redis.call('HGET', attempts, word)) or 0
if not (before >= 0 and before < 1000000) then
    before = 0
end
local counted = math.floor(before) + 1
redis.call('HSET', attempts, word, counted)
redis.call('EXPIRE', attempts, life)
return counted
""")
def count_attempt(*, attempts: Key, word: str, life: int) -> None:
    """Return the number of attempts, this attempt included. The number is kept for ``life`` seconds.

    A value that is not a number counts as 0.
    """


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Limits of a queue.

    lease: returns the seconds for which a new claim holds.
    max_dead: how many items the dead list has at most.
    """

    lease: Callable[[], float]
    max_attempts: int
    max_dead: int


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """An item to work on, and when it was due (Unix seconds)."""

    item: T
    due_at: float


class LeasedQueue(Generic[T]):
    """Items by due time. The caller passes all times, in Unix seconds. Raises ``CacheUnavailable``.

    ``name`` is the part of its keys before ``queue``, ``dead`` and ``attempts``. An item due more than ``horizon``
    seconds from now is due now: no gateway queues for later.
    """

    def __init__(
        self,
        guard: GuardedRedis,
        name: str,
        codec: Codec[T],
        *,
        limits: QueueLimits,
        random: Callable[[], float] = random.random,
        horizon: float = _HORIZON,
    ) -> None:
        self._guard = guard
        self._codec = codec
        self._horizon = horizon
        self.limits = limits
        self._random = random
        self._queue, self._dead, self._attempts = (guard.key(name, part) for part in ("queue", "dead", "attempts"))
        self.keys = self._queue, self._attempts, self._dead

    async def schedule(self, due: Mapping[T, float]) -> None:
        """Queue each item for its time, without failed attempts, and not dead. An item already queued is moved."""
        await self._set(due, only_if_queued=False)

    async def claim(self, now: float, most: int) -> list[Claim[T]]:
        """Claim up to ``most`` due items, the longest due first. No other worker gets them before the lease ends."""
        async with self._guard.bounded():
            lease_end, latest = now + self.limits.lease(), now + self._horizon
            call = claim_due(queue=self._queue, now=now, lease_end=lease_end, most=most, latest=latest)
            answer = await self._guard.client.eval(*call)
            claims, garbage = self._read_claims(zip(answer[::2], answer[1::2], strict=True), instead_of_infinity=now)
            if garbage:
                await self._guard.client.zrem(self._queue, *garbage)
        return claims

    async def ack(self, due: Mapping[T, float]) -> None:
        """Queue finished items for their next times. An item removed since its claim stays removed."""
        await self._set(due, only_if_queued=True)

    async def _set(self, due: Mapping[T, float], *, only_if_queued: bool) -> None:
        if not due:
            return
        words = {self._codec.encode(item): at for item, at in due.items()}
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zadd(self._queue, words, xx=only_if_queued)
            pipeline.exists(self._attempts)
            pipeline.exists(self._dead)
            _, any_failed, any_dead = await pipeline.execute()
            if any_failed:
                await self._guard.client.hdel(self._attempts, *words)
            if any_dead:
                await self._guard.client.hdel(self._dead, *words)

    async def remove(self, items: Sequence[T]) -> None:
        """Take the items out of the queue, and off the dead list."""
        if not items:
            return
        words = [self._codec.encode(item) for item in items]
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zrem(self._queue, *words)
            pipeline.hdel(self._attempts, *words)
            pipeline.hdel(self._dead, *words)
            await pipeline.execute()

    async def postpone(self, items: Sequence[T], now: float, seconds: float) -> None:
        """Queue claimed items again for within ``seconds``, without counting an attempt."""
        if items:
            async with self._guard.bounded():
                again = {self._codec.encode(item): now + seconds * (0.5 + self._random() / 2) for item in items}
                await self._guard.client.zadd(self._queue, again, xx=True)

    async def fail(self, item: T, reason: str, now: float) -> bool:
        """Queue a failed item again after a backoff, or after its last attempt move it to the dead list.

        Returns True when the item was given up. The backoff is exponential with full jitter, and lasts at most ten
        leases.
        """
        word = self._codec.encode(item)
        async with self._guard.bounded():
            call = count_attempt(attempts=self._attempts, word=word, life=_ATTEMPTS_LIFE)
            attempts = await self._guard.client.eval(*call)
            if attempts < self.limits.max_attempts:
                backoff = self._random() * min(self.limits.lease() * 10, _BACKOFF_BASE * 2**attempts)
                await self._guard.client.zadd(self._queue, {word: now + backoff}, xx=True)
                return False
            # First into the dead list, then out of the queue: dying in between leaves it in both, and loses nothing.
            if await self._guard.client.hlen(self._dead) < self.limits.max_dead:
                await self._guard.client.hset(self._dead, word, DeadEntry(item, reason, now, attempts).encode())
            await self._guard.client.zrem(self._queue, word)
            await self._guard.client.hdel(self._attempts, word)
        return True

    async def dead(self, most: int = 1000) -> list[DeadEntry[T]]:
        """Return up to ``most`` entries of the dead list, without unreadable ones."""
        found: dict[T, DeadEntry[T]] = {}
        cursor: int | None = None
        while cursor != 0 and len(found) < most:
            cursor, entries = await self._scan_dead(cursor or 0, min(most, _SCANNED_AT_ONCE))
            items, _ = self._codec.decode_all(entries)
            shown = islice(items.items(), most - len(found))
            found |= {item: DeadEntry.decode(item, entries[word]) for word, item in shown}
        return list(found.values())

    async def requeue(self, now: float, chosen: Sequence[T] | None = None) -> int:
        """Make the dead list due now, and return the number of entries. Unreadable entries are removed.

        With ``chosen``, make only these items due, if they are on the list.
        """
        if chosen is not None:
            return await self._requeue_chosen(now, [self._codec.encode(item) for item in chosen])
        moved = 0
        cursor: int | None = None
        while cursor != 0:
            cursor, entries = await self._scan_dead(cursor or 0)
            if not entries:
                continue
            items, garbage = self._codec.decode_all(entries)
            async with self._guard.bounded():
                # First into the queue, then off the list, for the same reason as in fail().
                if items:
                    await self._guard.client.zadd(self._queue, dict.fromkeys(items, now))
                    moved += await self._guard.client.hdel(self._dead, *items)
                if garbage:
                    await self._guard.client.hdel(self._dead, *garbage)
        return moved

    async def _requeue_chosen(self, now: float, words: Sequence[str]) -> int:
        async with self._guard.bounded():
            entries = await self._guard.client.hmget(self._dead, words)
            dead = [word for word, entry in zip(words, entries, strict=True) if entry is not None]
            if not dead:
                return 0
            await self._guard.client.zadd(self._queue, dict.fromkeys(dead, now))  # first, as in requeue()
            return int(await self._guard.client.hdel(self._dead, *dead))

    async def _scan_dead(self, cursor: int, most: int = _SCANNED_AT_ONCE) -> tuple[int, dict[bytes, bytes]]:
        """Return the cursor of the next page of the dead list, and this page, of about ``most`` entries.

        Only cursor 0 is the end: pages in between may be empty (HSCAN, Redis).
        """
        async with self._guard.bounded():
            cursor, entries = await self._guard.client.hscan(self._dead, cursor=cursor, count=most)
        return int(cursor), entries

    async def next_due(self) -> float | None:
        """Return when the next item is due, or None when the queue is empty."""
        async with self._guard.bounded():
            first = await self._guard.client.zrange(self._queue, 0, 0, withscores=True)
        return float(first[0][1]) if first else None

    async def due_at(self, item: T) -> float | None:
        """Return when the item is due, or None when it is not queued, or at an infinite time."""
        async with self._guard.bounded():
            score = await self._guard.client.zscore(self._queue, self._codec.encode(item))
        return float(score) if score is not None and math.isfinite(score) else None

    async def dead_entry(self, item: T) -> DeadEntry[T] | None:
        """Return the item's entry in the dead list, or None without one."""
        word = self._codec.encode(item)
        async with self._guard.bounded():
            entry = await self._guard.client.hget(self._dead, word)
        return DeadEntry.decode(item, entry) if entry is not None else None

    async def first(self, most: int) -> list[Claim[T]]:
        """Return the next items to come due, without claiming them. An infinite time is returned as 0.0."""
        async with self._guard.bounded():
            entries = await self._guard.client.zrange(self._queue, 0, most - 1, withscores=True)
        return self._read_claims(entries, instead_of_infinity=0.0)[0]

    def _read_claims(
        self, entries: Iterable[tuple[bytes, bytes | float]], *, instead_of_infinity: float
    ) -> tuple[list[Claim[T]], list[bytes]]:
        """Return the entries as claims, and the words that cannot be decoded."""
        due = {word: float(score) for word, score in entries}
        items, garbage = self._codec.decode_all(due)
        finite = {word: due[word] if math.isfinite(due[word]) else instead_of_infinity for word in items}
        return [Claim(item, finite[word]) for word, item in items.items()], garbage

    async def repair(self) -> None:
        """Delete each key that holds a value of another type."""
        await self._guard.remove_unless(b"zset", [self._queue])
        await self._guard.remove_unless(b"hash", [self._dead, self._attempts])

    async def lengths(self, now: float) -> "QueueLengths":
        """Return how many are queued, how many of them are due, and how many are dead."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zcard(self._queue)
            pipeline.zcount(self._queue, "-inf", now)
            pipeline.hlen(self._dead)
            return QueueLengths(*await pipeline.execute())

    async def due_by_step(self, now: float, step: float, steps: int) -> list[int]:
        """Return how many items come due in each of the next ``steps`` times ``step`` seconds."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for number in range(steps):
                pipeline.zcount(self._queue, f"({now + number * step}", now + (number + 1) * step)
            return list(await pipeline.execute())


@dataclass(frozen=True, slots=True)
class QueueLengths:
    """Numbers of items."""

    queued: int
    due: int
    dead: int
