"""How often images are asked for: counted in memory, written to Redis once a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass

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
        self._counted: dict[Member, _Pending] = {}

    def accessed(self, image_id: str, style: str | None = None) -> None:
        """The image's URL was used."""
        member = Member(image_id, style)
        pending = self._counted.get(member) or self._counted_from_now(member)
        if pending is not None:
            pending.accesses += 1
            pending.last_access = self._now()

    def refreshed(self, member: Member) -> None:
        """The image's URL was made anew."""
        pending = self._counted.get(member) or self._counted_from_now(member)
        if pending is not None:
            pending.refreshes += 1

    async def usage(self, member: Member) -> Usage:
        """All that is known: what is in Redis and what is not yet there; the latter alone while Redis is away."""
        pending = self._counted.get(member, _Pending()).usage()
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
            await self._store.add({member: pending.usage() for member, pending in counted.items()})
        except CacheUnavailable:
            for member, before in counted.items():
                pending = self._counted.get(member) or self._counted_from_now(member)
                if pending is not None:
                    pending.add(before)

    def _counted_from_now(self, member: Member) -> "_Pending | None":
        """None when there are too many."""
        if len(self._counted) >= self._most_members:
            return None
        pending = self._counted[member] = _Pending()
        return pending


@dataclass(slots=True)
class _Pending:
    """What was counted and is not yet written."""

    accesses: int = 0
    refreshes: int = 0
    last_access: float | None = None

    def add(self, before: "_Pending") -> None:
        """What was counted earlier, too."""
        self.accesses += before.accesses
        self.refreshes += before.refreshes
        self.last_access = self.last_access or before.last_access

    def usage(self) -> Usage:
        """The last access in whole seconds."""
        return Usage(self.accesses, self.refreshes, int(self.last_access) if self.last_access is not None else None)


def _sum(one: Usage, other: Usage) -> Usage:
    times = [at for at in (one.last_access, other.last_access) if at is not None]
    return Usage(
        one.access_count + other.access_count,
        one.refresh_count + other.refresh_count,
        max(times, default=None),
    )
