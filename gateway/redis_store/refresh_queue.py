"""The queue of renewals in Redis: a sorted set ordered by time, with leases.

The score of a variant in ``refresh:queue`` is when its renewal is due. The variants that a dead worker claimed come due
again when its lease ends; every other operation is idempotent. Each script touches one key only: in a Cluster the slots
of the keys differ.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.presign.signed_image import ImageVariant
from gateway.redis_store.dead_entry import DeadEntry
from gateway.redis_store.entry_codec import decode_variants, encode_variant
from gateway.redis_store.guarded_client import GuardedRedis

_BACKOFF_BASE = 1.0
_ATTEMPTS_LIFE = 30 * 24 * 3600
_SCANNED_AT_ONCE = 500
# Seconds from now: no gateway queues for later. A score beyond was written by another program and would never be due.
_HORIZON = 10 * 365 * 24 * 3600

# KEYS[1] the queue; ARGV[1] now, ARGV[2] the end of the lease, ARGV[3] how many at most, ARGV[4] the latest time
# that a gateway queues for: a later score is due now. Returns words and scores.
_CLAIM = """
local never = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[4], '+inf', 'LIMIT', 0, ARGV[3])
for _, word in ipairs(never) do
    redis.call('ZADD', KEYS[1], 'XX', ARGV[1], word)
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
for i = 1, #due, 2 do
    redis.call('ZADD', KEYS[1], 'XX', ARGV[2], due[i])
end
return due
"""

# KEYS[1] the attempts; ARGV[1] the word, ARGV[2] for how many seconds they are kept. Returns their number, this one
# included. A value that is not a number counts as 0.
_COUNT_ATTEMPT = """
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1])) or 0
if not (before >= 0 and before < 1000000) then
    before = 0
end
local attempts = math.floor(before) + 1
redis.call('HSET', KEYS[1], ARGV[1], attempts)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return attempts
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A variant to renew, and when that was due (Unix seconds)."""

    variant: ImageVariant
    due_at: float


class RefreshQueue:
    """Renewals by due time. The caller passes all times, in Unix seconds. Raises ``CacheUnavailable``.

    ``lease`` tells for how many seconds a claim holds now.
    """

    def __init__(
        self,
        guard: GuardedRedis,
        *,
        lease: Callable[[], float],
        max_attempts: int,
        max_dead: int,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._guard = guard
        self._lease = lease
        self._max_attempts = max_attempts
        self._max_dead = max_dead
        self._random = random
        self._queue, self._dead, self._attempts = (guard.key("refresh", name) for name in ("queue", "dead", "attempts"))
        self.keys = self._queue, self._attempts

    async def schedule(self, due: Mapping[ImageVariant, float]) -> None:
        """Queue each variant for its time with no failed attempts; one already queued is moved."""
        await self._set(due, only_if_queued=False)

    async def claim(self, now: float, most: int) -> list[Claim]:
        """Claim up to ``most`` due variants, the longest due first; no other worker gets them before the lease ends."""
        async with self._guard.bounded():
            answer = await self._guard.client.eval(
                _CLAIM, 1, self._queue, now, now + self._lease(), most, now + _HORIZON
            )
            claims, garbage = _read_claims(zip(answer[::2], answer[1::2], strict=True), instead_of_infinity=now)
            if garbage:
                await self._guard.client.zrem(self._queue, *garbage)
        return claims

    async def ack(self, due: Mapping[ImageVariant, float]) -> None:
        """Queue renewed variants for their next times; one removed since its claim stays removed."""
        await self._set(due, only_if_queued=True)

    async def _set(self, due: Mapping[ImageVariant, float], *, only_if_queued: bool) -> None:
        if not due:
            return
        words = {encode_variant(variant): at for variant, at in due.items()}
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zadd(self._queue, words, xx=only_if_queued)
            pipeline.exists(self._attempts)
            _, any_failed = await pipeline.execute()
            if any_failed:
                await self._guard.client.hdel(self._attempts, *words)

    async def remove(self, variants: Sequence[ImageVariant]) -> None:
        """Take the variants out of the queue."""
        if not variants:
            return
        words = [encode_variant(variant) for variant in variants]
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zrem(self._queue, *words)
            pipeline.hdel(self._attempts, *words)
            await pipeline.execute()

    async def postpone(self, variants: Sequence[ImageVariant], now: float, seconds: float) -> None:
        """Queue claimed variants again for within ``seconds``, without counting an attempt."""
        if variants:
            async with self._guard.bounded():
                again = {encode_variant(variant): now + seconds * (0.5 + self._random() / 2) for variant in variants}
                await self._guard.client.zadd(self._queue, again, xx=True)

    async def fail(self, variant: ImageVariant, reason: str, now: float) -> bool:
        """Queue a failed variant again after a backoff, or after its last attempt move it to the dead list.

        Returns True when it was given up. The backoff is exponential with full jitter, and no longer than ten leases.
        """
        word = encode_variant(variant)
        async with self._guard.bounded():
            attempts = await self._guard.client.eval(_COUNT_ATTEMPT, 1, self._attempts, word, _ATTEMPTS_LIFE)
            if attempts < self._max_attempts:
                backoff = self._random() * min(self._lease() * 10, _BACKOFF_BASE * 2**attempts)
                await self._guard.client.zadd(self._queue, {word: now + backoff}, xx=True)
                return False
            # First into the dead list, then out of the queue: dying in between leaves it in both, and loses nothing.
            if await self._guard.client.hlen(self._dead) < self._max_dead:
                await self._guard.client.hset(self._dead, word, DeadEntry(variant, reason, now, attempts).encode())
            await self._guard.client.zrem(self._queue, word)
            await self._guard.client.hdel(self._attempts, word)
        return True

    async def dead(self, most: int = 1000) -> list[DeadEntry]:
        """Return up to ``most`` entries of the dead list, without those that name no variant."""
        found: dict[ImageVariant, DeadEntry] = {}
        cursor: int | None = None
        while cursor != 0 and len(found) < most:
            cursor, entries = await self._scan_dead(cursor or 0)
            variants, _ = decode_variants(entries)
            found |= {
                variant: DeadEntry.decode(variant, entries[encode_variant(variant).encode()]) for variant in variants
            }
        return list(found.values())[:most]

    async def requeue(self, now: float) -> int:
        """Make the whole dead list due now and return their number; entries that name no variant are removed."""
        moved = 0
        cursor: int | None = None
        while cursor != 0:
            cursor, entries = await self._scan_dead(cursor or 0)
            if not entries:
                continue
            variants, garbage = decode_variants(entries)
            async with self._guard.bounded():
                # First into the queue, then off the list, for the same reason as in fail().
                if variants:
                    words = list(map(encode_variant, variants))
                    await self._guard.client.zadd(self._queue, dict.fromkeys(words, now))
                    moved += await self._guard.client.hdel(self._dead, *words)
                if garbage:
                    await self._guard.client.hdel(self._dead, *garbage)
        return moved

    async def _scan_dead(self, cursor: int) -> tuple[int, dict[bytes, bytes]]:
        """Return the cursor of the next page of the dead list, and this page.

        Only cursor 0 is the end: pages in between may be empty (HSCAN, Redis).
        """
        async with self._guard.bounded():
            cursor, entries = await self._guard.client.hscan(self._dead, cursor=cursor, count=_SCANNED_AT_ONCE)
        return int(cursor), entries

    async def next_due(self) -> float | None:
        """Return when the next variant is due; None when the queue is empty."""
        async with self._guard.bounded():
            first = await self._guard.client.zrange(self._queue, 0, 0, withscores=True)
        return float(first[0][1]) if first else None

    async def due_at(self, variant: ImageVariant) -> float | None:
        """Return when the variant is due; None when it is not queued, or at an infinite time."""
        async with self._guard.bounded():
            score = await self._guard.client.zscore(self._queue, encode_variant(variant))
        return float(score) if score is not None and math.isfinite(score) else None

    async def dead_entry(self, variant: ImageVariant) -> DeadEntry | None:
        """Return the variant's entry in the dead list; None without one."""
        word = encode_variant(variant)
        async with self._guard.bounded():
            entry = await self._guard.client.hget(self._dead, word)
        return DeadEntry.decode(variant, entry) if entry is not None else None

    async def first(self, most: int) -> list[Claim]:
        """Return the next variants to come due, without claiming them; 0.0 stands for an infinite time."""
        async with self._guard.bounded():
            entries = await self._guard.client.zrange(self._queue, 0, most - 1, withscores=True)
        return _read_claims(entries, instead_of_infinity=0.0)[0]

    async def repair(self) -> None:
        """Delete those of the keys that hold another type."""
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


@dataclass(frozen=True, slots=True)
class QueueLengths:
    """Numbers of variants."""

    queued: int
    due: int
    dead: int


def _read_claims(
    entries: Iterable[tuple[bytes, bytes | float]], *, instead_of_infinity: float
) -> tuple[list[Claim], list[bytes]]:
    """Return the entries as claims, and the words that name no variant."""
    due = {word: float(score) for word, score in entries}
    variants, garbage = decode_variants(due)
    at = [due[encode_variant(variant).encode()] for variant in variants]
    finite = [one if math.isfinite(one) else instead_of_infinity for one in at]
    return [Claim(variant, one) for variant, one in zip(variants, finite, strict=True)], garbage
