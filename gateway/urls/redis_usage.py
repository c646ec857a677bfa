"""Who is used, how often, and until when its URL lives: sorted sets in Redis, bounded together.

The sets live a month after the last of the gateways wrote to them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.urls.member import Member
from gateway.urls.redis_guard import RedisGuard

_LIFE = 30 * 24 * 3600
_TRIMMED_AT_ONCE = 1000


class Usage(NamedTuple):
    """How often and when a URL was asked for, or made anew; ``last_access`` in Unix seconds, None when never."""

    access_count: int = 0
    refresh_count: int = 0
    last_access: float | None = None


class RedisUsage:
    """Sorted sets by member: ``used`` (last access), ``hits``, ``refreshes`` (counts), ``expiry`` (end of the URL)."""

    def __init__(self, guard: RedisGuard) -> None:
        self._guard = guard
        self._used, self._hits, self._refreshes, self._expiry = (
            guard.key("index", name) for name in ("used", "hits", "refreshes", "expiry")
        )

    async def read(self, member: Member) -> Usage:
        """What was counted of the member; zeros when nothing was."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for key in (self._hits, self._refreshes, self._used):
                pipeline.zscore(key, str(member))
            hits, refreshes, used = await pipeline.execute()
        return Usage(int(hits or 0), int(refreshes or 0), used)

    async def last_accesses(self, members: Sequence[Member]) -> dict[Member, tuple[float | None, float]]:
        """For each member when it was last used (None: never, or too long ago to be known) and how often in all."""
        words = [str(member) for member in members]
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zmscore(self._used, words)
            pipeline.zmscore(self._hits, words)
            used, hits = await pipeline.execute()
        return {member: (at, count or 0.0) for member, at, count in zip(members, used, hits, strict=True)}

    async def add(self, counted: Mapping[Member, Usage]) -> None:
        """Add what was counted, in one pipeline."""
        used = {str(member): usage.last_access for member, usage in counted.items() if usage.last_access is not None}
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            if used:
                pipeline.zadd(self._used, used, gt=True)
            for member, usage in counted.items():
                if usage.access_count:
                    pipeline.zincrby(self._hits, usage.access_count, str(member))
                if usage.refresh_count:
                    pipeline.zincrby(self._refreshes, usage.refresh_count, str(member))
            for key in (self._used, self._hits, self._refreshes):
                pipeline.expire(key, _LIFE)
            await pipeline.execute()

    async def made(self, ends: Mapping[Member, int], now: float) -> None:
        """URLs were made that end at those Unix seconds. One that nobody asked for yet counts as used now."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zadd(self._expiry, {str(member): end for member, end in ends.items()})
            pipeline.zadd(self._used, dict.fromkeys(map(str, ends), now), nx=True)
            for key in (self._expiry, self._used):
                pipeline.expire(key, _LIFE)
            await pipeline.execute()

    async def forget(self, members: Sequence[Member]) -> None:
        """The members are gone, and so is what was counted of them."""
        if not members:
            return
        words = [str(member) for member in members]
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for key in (self._used, self._hits, self._refreshes, self._expiry):
                pipeline.zrem(key, *words)
            await pipeline.execute()

    async def hottest(self, most: int) -> list[Member]:
        """The most used members, the hottest first."""
        async with self._guard.bounded():
            words = await self._guard.client.zrevrange(self._hits, 0, most - 1)
        return [Member.parse(word) for word in words]

    async def cached(self, now: float, soon: float) -> tuple[int, int]:
        """How many URLs live at ``now``, and how many of them end within ``soon`` seconds."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            pipeline.zremrangebyscore(self._expiry, "-inf", now)
            pipeline.zcard(self._expiry)
            pipeline.zcount(self._expiry, now, now + soon)
            _, total, ending = await pipeline.execute()
        return total, ending

    async def take_least_used(self, max_size: int) -> list[Member]:
        """Remove and return what is beyond ``max_size``, least recently used first; at most a thousand at a time.

        Taking is atomic, so that replicas that trim at the same time do not take the same.
        """
        async with self._guard.bounded():
            excess = await self._guard.client.zcard(self._used) - max_size
            if excess <= 0:
                return []
            taken = await self._guard.client.zpopmin(self._used, min(excess, _TRIMMED_AT_ONCE))
        return [Member.parse(word) for word, _ in taken]

    async def mend(self) -> None:
        """Remove what is no sorted set under our names."""
        await self._guard.remove_unless(b"zset", (self._used, self._hits, self._refreshes, self._expiry))
