"""The renewal of a batch of claimed URLs: one query, one write, and a result for every claim."""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.catalog.record import Catalog
from gateway.concurrency.time_slices import TimeSlices
from gateway.errors import CatalogUnavailable, CredentialsExpired
from gateway.metrics.collectors import Metrics
from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.presign.signer import Signer
from gateway.redis_store.leased_queue import Claim
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.redis_store.url_entries import EntryHeader
from gateway.redis_store.usage_store import UsageStore
from gateway.settings import UrlPrerefreshSettings
from gateway.urls.shared_tier import SharedTier

logger = logging.getLogger(__name__)

_POSTPONED_FOR = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class _Work:
    """A claim and the header of its entry."""

    claim: Claim[ImageVariant]
    there: EntryHeader


class RefreshBatch:
    """Renews claims. ``renew`` counts each claim under a result:

    - ``renewed``
    - ``fresh``: already renewed by another worker or a request.
    - ``idle``: not requested for ``idle_after`` seconds, so not renewed.
    - ``gone``: the image does not exist.
    - ``postponed``: Postgres does not answer, or the credentials end.
    - ``failed``: to be tried again.
    - ``dead``: given up.
    """

    def __init__(
        self,
        catalog: Catalog,
        signer: Signer,
        shared: SharedTier,
        queue: RefreshQueue,
        usage: UsageStore,
        lifetime: Lifetime,
        metrics: Metrics,
        *,
        settings: UrlPrerefreshSettings,
        invalidate: Callable[[Sequence[str]], Awaitable[object]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._signer = signer
        self._shared = shared
        self._queue = queue
        self._usage = usage
        self._lifetime = lifetime
        self._metrics = metrics
        self.settings = settings
        self._invalidate = invalidate
        self._now = now

    async def renew(self, claims: Sequence[Claim[ImageVariant]]) -> "Counter[str]":
        """Renew the claims and count the results. Raises ``CacheUnavailable``: the lease then returns the claims."""
        results: Counter[str] = Counter()
        found = await self._shared.read_headers([claim.item for claim in claims])
        used = await self._usage.last_accesses([claim.item for claim in claims])
        work: list[_Work] = []
        fresh: dict[ImageVariant, float] = {}
        idle: list[ImageVariant] = []
        for claim in claims:
            variant, there = claim.item, found[claim.item]
            last_access, _ = used[variant]
            if last_access is None or last_access < self._now() - self.settings.idle_after:
                idle.append(variant)
            elif (due := self._still_fresh_until(there)) is not None:
                fresh[variant] = due
            elif not self._signer.has_rendition(variant.rendition):
                idle.append(variant)
            else:
                work.append(_Work(claim, there))
        await self._queue.ack(fresh)
        await self._queue.remove(idle)
        results.update(fresh=len(fresh), idle=len(idle))
        if work:
            results += await self._renew(work, {variant: count for variant, (_, count) in used.items()})
        for result, count in results.items():
            self._metrics.refresh.labels(result=result).inc(count)
        return results

    def _still_fresh_until(self, there: EntryHeader) -> float | None:
        """Return until when the entry needs no renewal, or None: a dead worker or a request may have renewed it."""
        if there.expires_at is None:
            return None
        fresh_until = self._lifetime.fresh_until(there.expires_at)
        return fresh_until if fresh_until > self._now() else None

    async def _renew(self, work: Sequence[_Work], hits: Mapping[ImageVariant, float]) -> "Counter[str]":
        results: Counter[str] = Counter()
        read_at = int(self._now())
        try:
            rows = await self._catalog.fetch_rows(list({item.claim.item.image_id for item in work}))
        except CatalogUnavailable as error:
            return await self._isolate_failure(work, hits, error)
        made: list[tuple[SignedImage, bytes]] = []
        gone: list[str] = []
        expired: list[ImageVariant] = []
        slices = TimeSlices()
        for item in work:
            variant = item.claim.item
            await slices.pause()
            if (reason := rows.unusable.get(variant.image_id)) is not None:
                results[await self._fail(variant, reason)] += 1
                continue
            record = rows.records.get(variant.image_id)
            if record is None:
                gone.append(variant.image_id)
                continue
            try:
                image = self._signer.sign_image(record, variant.rendition, read_at=read_at)
            except CredentialsExpired:
                expired.append(variant)
                continue
            if self._lifetime.is_usable(image.presigned, self._now()):
                made.append((image, item.there.tombstone))
            else:
                expired.append(variant)
        await self._shared.keep(made, hits)
        await self._queue.postpone(expired, self._now(), _POSTPONED_FOR)
        if gone:
            await self._invalidate(gone)
            await self._shared.remove_usage(gone)
        results.update(renewed=len(made), gone=len(gone), postponed=len(expired))
        return results

    async def _isolate_failure(
        self, work: Sequence[_Work], hits: Mapping[ImageVariant, float], error: CatalogUnavailable
    ) -> "Counter[str]":
        """Halve a batch whose query failed until only the id at fault is left. Postpone the batch without Postgres."""
        try:
            await self._catalog.try_query()
        except CatalogUnavailable:
            await self._queue.postpone([item.claim.item for item in work], self._now(), _POSTPONED_FOR)
            return Counter(postponed=len(work))
        if len(work) == 1:
            return Counter([await self._fail(work[0].claim.item, str(error))])
        half = len(work) // 2
        return await self._renew(work[:half], hits) + await self._renew(work[half:], hits)

    async def _fail(self, variant: ImageVariant, reason: str) -> str:
        given_up = await self._queue.fail(variant, reason, self._now())
        if given_up:
            logger.error("renewal given up: image_id=%s reason=%s", variant.image_id, reason)
        return "dead" if given_up else "failed"
