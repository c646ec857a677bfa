"""The choice of the claims that need a renewal: the others are used no more, or are renewed already."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import ImageVariant
from gateway.presign.signer import Signer
from gateway.redis_entries.url_entries import EntryHeader, UrlEntries
from gateway.redis_entries.usage_store import UsageStore
from gateway.redis_queue.leased_queue import Claim
from gateway.redis_queue.refresh_queue import RefreshQueue
from gateway.settings import Live, UrlPrerefreshSettings


@dataclass(frozen=True, slots=True)
class Work:
    """A claim to renew and the header of its entry."""

    claim: Claim[ImageVariant]
    there: EntryHeader


@dataclass(frozen=True, slots=True)
class Selected:
    """The claims to renew, the number of uses of each variant, and the results of the other claims."""

    work: Sequence[Work]
    hits: Mapping[ImageVariant, float]
    results: "Counter[str]"


class ClaimSelection:
    """Takes claims out of the queue that are used no more (``idle``), and queues those that are ``fresh`` for later."""

    def __init__(
        self,
        shared: UrlEntries,
        usage: UsageStore,
        queue: RefreshQueue,
        signer: Signer,
        lifetime: Lifetime,
        settings: Live[UrlPrerefreshSettings],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._shared = shared
        self._usage = usage
        self._queue = queue
        self._signer = signer
        self._lifetime = lifetime
        self._settings = settings
        self._now = now

    async def select(self, claims: Sequence[Claim[ImageVariant]]) -> Selected:
        """Return the claims to renew. Raises ``CacheUnavailable``. A claim whose entry cannot be read is left out."""
        variants = [claim.item for claim in claims]
        found = await self._shared.read_headers(variants)
        used = await self._usage.last_accesses(variants)
        work: list[Work] = []
        fresh: dict[ImageVariant, float] = {}
        idle: list[ImageVariant] = []
        for claim in claims:
            variant = claim.item
            if (there := found.get(variant)) is None:
                continue
            last_access, _ = used[variant]
            if last_access is None or last_access < self._now() - self._settings.value.idle_after:
                idle.append(variant)
            elif (due := self._still_fresh_until(there)) is not None:
                fresh[variant] = due
            elif not self._signer.has_rendition(variant.rendition):
                idle.append(variant)
            else:
                work.append(Work(claim, there))
        await self._queue.ack(fresh)
        await self._queue.remove(idle)
        hits = {variant: count for variant, (_, count) in used.items()}
        return Selected(work, hits, Counter(fresh=len(fresh), idle=len(idle)))

    def _still_fresh_until(self, there: EntryHeader) -> float | None:
        """Return until when the entry needs no renewal, or None: a dead worker or a request may have renewed it."""
        if there.expires_at is None:
            return None
        fresh_until = self._lifetime.fresh_until(there.expires_at)
        return fresh_until if fresh_until > self._now() else None
