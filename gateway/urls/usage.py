"""How often images are asked for: counted in memory, written to Redis once a second."""

import time
from collections.abc import Callable

from gateway.urls.member import Member
from gateway.urls.redis_guard import CacheUnavailable
from gateway.urls.redis_usage import RedisUsage, Usage

_MOST_MEMBERS = 50_000


class UsageCounter:
    """Counts without waiting for anything.

    What cannot be written is kept for the next flush, for at most ``most_members``: beyond that, what was not counted
    yet is not counted, so that an outage of Redis costs a bounded amount of memory.
    """

    def __init__(
        self, store: RedisUsage | None, *, most_members: int = _MOST_MEMBERS, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._most_members = most_members
        self._now = now
        self._counted: dict[Member, Usage] = {}

    def accessed(self, image_id: str, style: str | None = None) -> None:
        """The image's URL was used."""
        member, now = Member(image_id, style), int(self._now())
        known = self._counted.get(member)
        if known is not None and known.last_access == now:  # as for whatever is asked for often
            self._counted[member] = Usage(known.access_count + 1, known.refresh_count, now)
        else:
            self._count(member, Usage(access_count=1, last_access=now))

    def refreshed(self, member: Member) -> None:
        """The image's URL was made anew."""
        self._count(member, Usage(refresh_count=1))

    async def usage(self, member: Member) -> Usage:
        """All that is known: what is in Redis and what is not yet there; the latter alone while Redis is away."""
        pending = self._counted.get(member, Usage())
        if self._store is None:
            return pending
        try:
            return _sum(await self._store.read(member), pending)
        except CacheUnavailable:
            return pending

    async def flush(self) -> None:
        """Write what was counted; when Redis is away it stays for the next time."""
        if self._store is None or not self._counted:
            return
        counted, self._counted = self._counted, {}
        try:
            await self._store.add(counted)
        except CacheUnavailable:
            for member, usage in counted.items():
                self._count(member, usage)

    def _count(self, member: Member, usage: Usage) -> None:
        known = self._counted.get(member)
        if known is not None:
            self._counted[member] = _sum(known, usage)
        elif len(self._counted) < self._most_members:
            self._counted[member] = usage


def _sum(one: Usage, other: Usage) -> Usage:
    times = [at for at in (one.last_access, other.last_access) if at is not None]
    return Usage(
        one.access_count + other.access_count,
        one.refresh_count + other.refresh_count,
        max(times, default=None),
    )
