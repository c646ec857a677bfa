"""Use of the images and the ends of their URLs: sorted sets in Redis, trimmed together."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import itemgetter
from typing import Final, NamedTuple

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import CacheUnavailable, Command, Script
from gateway.redis_connection.shards import Shard, Shards, decode_variant, encode_variant
from gateway.redis_entries.idempotent_batches import IdempotentBatches

INDEX_LIFE: Final = 30 * 24 * 3600  # seconds after the last write of any gateway
_WORDS_AT_ONCE: Final = 1000  # of all shards; to read and sort them holds the event loop for about two milliseconds


# Set times in a sorted set that is kept for ``life`` seconds. A line has a word and its time. The later time stays,
# unless it is over a day later: no gateway's clock wrote such a time.
_TOUCH: Final = Script(
    keys="times",
    arguments="life lines",
    body="""
for word, at in string.gmatch(lines, '(%S+) (%S+)') do
    local kept, new = tonumber(redis.call('ZSCORE', times, word)), tonumber(at)
    if not (kept and kept >= new and kept <= new + 86400) then
        redis.call('ZADD', times, at, word)
    end
end
redis.call('EXPIRE', times, life)
return 1
""",
)


class Usage(NamedTuple):
    """How often a URL was used and renewed. ``last_access``: Unix seconds, None when it was never used."""

    access_count: int = 0
    refresh_count: int = 0
    last_access: float | None = None


class UsageBatch(NamedTuple):
    """Counted uses of a shard's images (a share of all ids), which Redis adds once. ``number`` grows each time."""

    shard: Shard
    number: int
    counted: Mapping[ImageVariant, Usage]


class UsageStore:
    """Keeps uses of cached URLs in Redis: sorted sets for last access, uses, renewals, and ends of URLs."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self._batches = IdempotentBatches()

    async def read(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, Usage]:
        """Return the usage of each variant, as ``Shards.values``. Zeros when a variant was never used."""
        found = await self.shards.values(
            variants,
            lambda shard, own: [
                ("ZMSCORE", key, *map(encode_variant, own)) for key in (shard.hits, shard.refreshes, shard.used)
            ],
        )
        return {
            variant: Usage(int(_count(hits)), int(_count(refreshes)), _count(used) or None)
            for variant, (hits, refreshes, used) in found.items()
        }

    async def access_counts(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, int]:
        """Return the numbers of uses alone, as ``read``, by a single command for each shard."""
        counts = await self.shards.values(
            variants, lambda shard, own: [("ZMSCORE", shard.hits, *map(encode_variant, own))]
        )
        return {variant: int(_count(count)) for variant, (count,) in counts.items()}

    def batch(self, shard: Shard, counted: Mapping[ImageVariant, Usage]) -> UsageBatch:
        """Return the counts of a shard as a batch, which must be written before the next batch of the shard."""
        return UsageBatch(shard, self._batches.next_number(), counted)

    async def write(self, batches: Sequence[UsageBatch]) -> Mapping[Shard, CacheUnavailable]:
        """Add each batch once, however often it is written in a day. Return the shards that failed, with the reason."""
        commands: dict[Shard, list[Command]] = {}
        for shard, number, counted in batches:
            own = commands.setdefault(shard, [])
            if used := _lines(counted, "last_access"):
                own.append(_TOUCH.command(times=shard.used, life=INDEX_LIFE, lines=used))
            for key, name in ((shard.hits, "access_count"), (shard.refreshes, "refresh_count")):
                if lines := _lines(counted, name):
                    own.append(self._batches.adding(shard, key, "zset", batch=number, lines=lines, life=INDEX_LIFE))
        return (await self.shards.run({shard: own for shard, own in commands.items() if own})).failed

    async def remove(self, variants: Sequence[ImageVariant]) -> None:
        """Remove everything stored about the variants."""

        def removing(shard: Shard, own: Sequence[ImageVariant]) -> list[Command]:
            keys, words = (shard.used, shard.hits, shard.refreshes, shard.expiry), [*map(encode_variant, own)]
            return [("ZREM", key, *words) for key in keys]

        (await self.shards.run_split(variants, removing)).complete()

    async def hottest(self, most: int) -> list[str]:
        """Return the ids of up to ``most`` images, the most used first. The uses of every style count.

        The shards are read by pages. Each page is sorted apart, so with several shards the order is roughly right.
        """
        found: dict[str, None] = {}
        page, start = max(1, _WORDS_AT_ONCE // len(self.shards.all)), 0
        while len(found) < most:
            answers = await self.shards.run(
                {shard: [("ZREVRANGE", shard.hits, start, start + page - 1, "WITHSCORES")] for shard in self.shards.all}
            )
            scores = [
                (float(score), word)
                for [flat] in answers.complete().values()
                for word, score in zip(flat[::2], flat[1::2], strict=True)
            ]
            if not scores:
                break
            scores.sort(key=itemgetter(0), reverse=True)
            found.update(dict.fromkeys(variant.image_id for variant in _variants_in(word for _, word in scores)))
            start += page
        return list(islice(found, most))

    async def cached(self, now: float, soon: float) -> tuple[int, int]:
        """Return the number of URLs alive at ``now``, and how many of them end within ``soon`` seconds."""
        commands = {
            shard: [
                ("ZREMRANGEBYSCORE", shard.expiry, "-inf", now),
                ("ZREMRANGEBYSCORE", shard.expiry, "+inf", "+inf"),  # no URL of a gateway has an infinite end
                ("ZCARD", shard.expiry),
                ("ZCOUNT", shard.expiry, now, now + soon),
            ]
            for shard in self.shards.all
        }
        found = (await self.shards.run(commands)).complete().values()
        return sum(total for _, _, total, _ in found), sum(ending for _, _, _, ending in found)

    async def sizes(self, shards: Sequence[Shard]) -> Mapping[Shard, int]:
        """Return how many variants were used in each of the shards whose server answers."""
        answers = await self.shards.run({shard: [("ZCARD", shard.used)] for shard in shards})
        return {shard: size for shard, [size] in answers.available().items()}

    async def take_least_used(self, shard: Shard, most: int) -> tuple[int, list[ImageVariant]]:
        """Remove up to ``most`` words of a shard, the least recently used first. Return how many, and their variants.

        This is atomic: replicas that trim at the same time take different variants.
        """
        [taken] = await self.shards.run_on(shard, ("ZPOPMIN", shard.used, most))
        return len(taken), _variants_in(word for word, _ in taken)


def _variants_in(words: Iterable[bytes]) -> list[ImageVariant]:
    """Return the variants that the words name, without the words of other programs."""
    variants: list[ImageVariant] = []
    for word in words:
        with suppress(ValueError):
            variants.append(decode_variant(word))
    return variants


def _lines(counted: Mapping[ImageVariant, Usage], name: str) -> str:
    """Return a line for each variant but those with zero."""
    numbers = ((variant, int(getattr(usage, name) or 0)) for variant, usage in counted.items())
    return "\n".join(f"{encode_variant(variant)} {number}" for variant, number in numbers if number)


def _count(score: float | None) -> float:
    """Return the count, or 0 for a value that no gateway wrote."""
    return score if score is not None and 0 <= score < math.inf else 0.0
