"""How often images are asked for: counted in memory, written to Redis once a second."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from gateway.presign.image_variant import ImageVariant
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.usage_store import Usage, UsageBatch, UsageStore

logger = logging.getLogger(__name__)

_MOST_VARIANTS = 50_000
_WRITTEN_AT_ONCE = 300  # members; a script keeps Redis from everybody else for about half a millisecond


class UsageCounter:
    """Counts without waiting for anything.

    What cannot be written is kept for the next flush, for at most ``most_members``: beyond that, what was not counted
    yet is not counted, so that an outage of Redis costs a bounded amount of memory. A batch whose write got no answer
    is written again as it is, before anything newer: Redis adds it once.
    """

    def __init__(
        self, store: UsageStore | None, *, most_variants: int = _MOST_VARIANTS, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._most_variants = most_variants
        self._now = now
        self._counted: dict[ImageVariant, _Pending] = {}
        self._unsettled: UsageBatch | None = None

    def accessed(self, image_id: str, style: str | None = None) -> None:
        """The image's URL was used."""
        variant = ImageVariant(image_id, style)
        pending = self._counted.get(variant) or self._counted_from_now(variant)
        if pending is not None:
            pending.accesses += 1
            pending.last_access = self._now()

    def refreshed(self, variant: ImageVariant) -> None:
        """The image's URL was made anew."""
        pending = self._counted.get(variant) or self._counted_from_now(variant)
        if pending is not None:
            pending.refreshes += 1

    async def usage(self, variant: ImageVariant) -> Usage:
        """All that is known: what is in Redis and what is not yet there; the latter alone while Redis is away.

        A batch that may or may not have arrived is not added to what Redis says: nobody is told of too many uses.
        """
        pending = self._counted.get(variant, _Pending()).usage()
        if self._store is None:
            return pending
        try:
            return _sum(await self._store.read(variant), pending)
        except CacheUnavailable:
            counted = self._unsettled.counted if self._unsettled is not None else {}
            return _sum(counted.get(variant, Usage()), pending)

    async def flush(self) -> None:
        """Write what was counted until now, some hundred members at a time; when Redis is away it stays."""
        if self._store is None:
            return
        try:
            for _ in range(1 + len(self._counted) // _WRITTEN_AT_ONCE):
                await self._settle()
                taken = list(islice(self._counted, _WRITTEN_AT_ONCE))
                if not taken:
                    return
                self._unsettled = self._store.batch({variant: self._counted.pop(variant).usage() for variant in taken})
            await self._settle()
        except CacheUnavailable as error:
            logger.debug("usage counts wait for redis: %s", error)

    async def _settle(self) -> None:
        """Write the batch that was taken, if there is one; raises ``CacheUnavailable`` and keeps it."""
        if self._store is not None and self._unsettled is not None:
            await self._store.write(self._unsettled)
            self._unsettled = None

    def _counted_from_now(self, variant: ImageVariant) -> "_Pending | None":
        """None when there are too many."""
        if len(self._counted) >= self._most_variants:
            return None
        pending = self._counted[variant] = _Pending()
        return pending


@dataclass(slots=True)
class _Pending:
    """What was counted and is not yet written."""

    accesses: int = 0
    refreshes: int = 0
    last_access: float | None = None

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
