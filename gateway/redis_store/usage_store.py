"""Use of the images and the ends of their URLs: sorted sets in Redis, trimmed together.

The sets expire a month after the last write of any gateway.
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.presign.signed_image import ImageVariant
from gateway.redis_store.entry_codec import decode_variants, encode_variant
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.lua_script import Key, lua_script

INDEX_LIFE: Final = 30 * 24 * 3600  # seconds
_MARKER_LIFE = 24 * 3600


@lua_script("""
if (tonumber(redis.call('GET', marker)) or 0) >= tonumber(batch) then
    return 0
end
for word, count in string.gmatch(lines, '(%S+) (%S+)') do
    if math.abs(tonumber(redis.call('ZINCRBY', counts, count, word)) or math.huge) == math.huge then
        redis.call('ZADD', counts, count, word)
    end
end
redis.call('EXPIRE', counts, life)
redis.call('SET', marker, batch, 'EX', marker_life)
return 1
""")
def _add(*, counts: Key, marker: Key, batch: int, life: int, marker_life: int, lines: str) -> None:
    """Add a batch to a sorted set of counts. A batch sent again, because no answer to it came, adds nothing.

    An infinite count, which adding cannot change, starts again from the new count.

    marker: the number of the last batch that this writer added.
    life, marker_life: for how many seconds the two are kept.
    lines: a word and a count on each.
    """


@lua_script("""
for word, at in string.gmatch(lines, '(%S+) (%S+)') do
    local kept, new = tonumber(redis.call('ZSCORE', times, word)), tonumber(at)
    if not (kept and kept >= new and kept <= new + 86400) then
        redis.call('ZADD', times, at, word)
    end
end
redis.call('EXPIRE', times, life)
return 1
""")
def _touch(*, times: Key, life: int, lines: str) -> None:
    """Set times in a sorted set that is kept for ``life`` seconds. A line has a word and its time.

    The later time stays, unless it is over a day later: no gateway's clock wrote such a time.
    """


class Usage(NamedTuple):
    """Numbers of uses and renewals of a URL. ``last_access`` in Unix seconds, None when the URL was never used."""

    access_count: int = 0
    refresh_count: int = 0
    last_access: float | None = None


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """Uses to be added once. ``number`` grows with each batch.

    ``used``, ``hits`` and ``refreshes`` hold ``counted`` as lines of word and number.
    """

    number: int
    counted: Mapping[ImageVariant, Usage]
    used: str
    hits: str
    refreshes: str


class UsageStore:
    """Sorted sets by variant: ``used`` (last access), ``hits``, ``refreshes`` (counts), ``expiry`` (end of the URL)."""

    def __init__(self, guard: GuardedRedis) -> None:
        self._guard = guard
        self._used, self._hits, self._refreshes, self._expiry = (
            guard.key("index", name) for name in ("used", "hits", "refreshes", "expiry")
        )
        self.index_keys = self._used, self._expiry
        self._writer = secrets.token_hex(8)
        self._batches = 0

    async def read(self, variant: ImageVariant) -> Usage:
        """Return the usage of the variant. Zeros when the variant was never used."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for key in (self._hits, self._refreshes, self._used):
                pipeline.zscore(key, encode_variant(variant))
            hits, refreshes, used = await pipeline.execute()
        return Usage(int(_count(hits)), int(_count(refreshes)), _time(used))

    async def access_counts(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, int]:
        """Return the number of uses of each variant, by a single command."""
        async with self._guard.bounded():
            counts = await self._guard.client.zmscore(self._hits, [encode_variant(variant) for variant in variants])
        return {variant: int(_count(count)) for variant, count in zip(variants, counts, strict=True)}

    async def last_accesses(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, tuple[float | None, float]]:
        """Return for each variant its last use (Unix seconds, or None when none is stored) and its number of uses."""
        words = [encode_variant(variant) for variant in variants]
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zmscore(self._used, words)
            pipeline.zmscore(self._hits, words)
            used, hits = await pipeline.execute()
        return {variant: (_time(at), _count(count)) for variant, at, count in zip(variants, used, hits, strict=True)}

    def batch(self, counted: Mapping[ImageVariant, Usage]) -> UsageBatch:
        """Return the counts as a batch, which must be written before the next batch."""
        self._batches += 1
        return UsageBatch(
            self._batches,
            counted,
            _lines(
                {variant: int(usage.last_access) for variant, usage in counted.items() if usage.last_access is not None}
            ),
            _lines({variant: usage.access_count for variant, usage in counted.items() if usage.access_count}),
            _lines({variant: usage.refresh_count for variant, usage in counted.items() if usage.refresh_count}),
        )

    async def write(self, batch: UsageBatch) -> None:
        """Add the batch once, however often it is written after lost answers, within a day.

        Each set has its own script: in a Cluster their slots differ.
        """
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            if batch.used:
                pipeline.eval(*_touch(times=self._used, life=INDEX_LIFE, lines=batch.used))
            for key, lines in ((self._hits, batch.hits), (self._refreshes, batch.refreshes)):
                if lines:
                    marker = self._guard.marker(key, self._writer)
                    call = _add(
                        counts=key,
                        marker=marker,
                        batch=batch.number,
                        life=INDEX_LIFE,
                        marker_life=_MARKER_LIFE,
                        lines=lines,
                    )
                    pipeline.eval(*call)
            await pipeline.execute()

    async def add(self, ends: Mapping[ImageVariant, int], now: float) -> None:
        """Index new URLs by their ends (Unix seconds). A URL that was never used counts as used now."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zadd(self._expiry, {encode_variant(variant): end for variant, end in ends.items()})
            pipeline.zadd(self._used, dict.fromkeys(map(encode_variant, ends), now), nx=True)
            for key in (self._expiry, self._used):
                pipeline.expire(key, INDEX_LIFE)
            await pipeline.execute()

    async def remove_expiry(self, variants: Sequence[ImageVariant]) -> None:
        """Remove the ends of URLs that are no longer cached. Their usage stays."""
        if variants:
            async with self._guard.bounded():
                await self._guard.client.zrem(self._expiry, *map(encode_variant, variants))

    async def remove(self, variants: Sequence[ImageVariant]) -> None:
        """Remove everything stored about the variants."""
        if not variants:
            return
        words = [encode_variant(variant) for variant in variants]
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for key in (self._used, self._hits, self._refreshes, self._expiry):
                pipeline.zrem(key, *words)
            await pipeline.execute()

    async def hottest(self, most: int) -> list[str]:
        """Return the ids of up to ``most`` images, the most used first. The uses of every style count."""
        found: dict[str, None] = {}
        start = 0
        while len(found) < most:
            async with self._guard.bounded():
                words = await self._guard.client.zrevrange(self._hits, start, start + most - 1)
            if not words:
                break
            variants, _ = decode_variants(words)
            found |= dict.fromkeys(variant.image_id for variant in variants)
            start += most
        return list(found)[:most]

    async def cached(self, now: float, soon: float) -> tuple[int, int]:
        """Return the number of URLs alive at ``now``, and how many of them end within ``soon`` seconds."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zremrangebyscore(self._expiry, "-inf", now)
            pipeline.zremrangebyscore(self._expiry, "+inf", "+inf")  # no URL of a gateway has an infinite end
            pipeline.zcard(self._expiry)
            pipeline.zcount(self._expiry, now, now + soon)
            _, _, total, ending = await pipeline.execute()
        return total, ending

    async def take_least_used(self, max_size: int, most: int) -> list[ImageVariant]:
        """Remove and return up to ``most`` variants beyond ``max_size``, the least recently used first.

        This is atomic: replicas that trim at the same time take different variants.
        """
        async with self._guard.bounded():
            excess = await self._guard.client.zcard(self._used) - max_size
            if excess <= 0:
                return []
            taken = await self._guard.client.zpopmin(self._used, min(excess, most))
        return decode_variants(word for word, _ in taken)[0]

    async def repair(self) -> None:
        """Delete each key that holds a value of another type."""
        await self._guard.remove_unless(b"zset", (self._used, self._hits, self._refreshes, self._expiry))


def _lines(numbers: Mapping[ImageVariant, int]) -> str:
    """Return a single argument for all lines: packing an argument costs as much as counting a use."""
    return "\n".join(f"{encode_variant(variant)} {number}" for variant, number in numbers.items())


def _count(score: float | None) -> float:
    """Return the count, or 0 for a value that no gateway wrote."""
    return score if score is not None and 0 <= score < math.inf else 0.0


def _time(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
