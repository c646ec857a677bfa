"""The renewal of a batch of claimed URLs: one query, one write, and a result for every claim."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.catalog.record import Catalog
from gateway.concurrency.time_limits import TimeSlices
from gateway.errors import CatalogUnavailable, CredentialsExpired
from gateway.presign.style_variants import ImageVariant
from gateway.presign.url_lifetime import CheckedSigner
from gateway.redis_entries.url_entries import EntryLookUp, Made, UrlEntries
from gateway.redis_entries.usage_store import UsageStore
from gateway.redis_queue.leased_queue import Claim, LeasedQueue
from gateway.settings import Live, UrlPrerefreshSettings

logger = logging.getLogger(__name__)

_POSTPONED_FOR: Final = 5.0  # seconds

# A variant to renew, and the header of its entry.
_Work: TypeAlias = tuple[ImageVariant, EntryLookUp]
_Results: TypeAlias = "Counter[str]"


@dataclass(frozen=True, slots=True)
class RefreshBatch:
    """Renews presigned URLs whose renewal this process has claimed. ``refresh`` counts each under a result:

    - ``renewed``; ``failed``: to be tried again; ``dead``: given up; ``gone``: the image does not exist.
    - ``fresh``: already renewed by another worker or a request. It is queued for later.
    - ``idle``: not requested for ``idle_after`` seconds, or its style is gone. It leaves the queue.
    - ``postponed``: Postgres does not answer, or the credentials end.

    forget: called with images that do not exist: it invalidates them and removes their usage.
    """

    shared: UrlEntries
    usage: UsageStore
    queue: LeasedQueue
    catalog: Catalog
    urls: CheckedSigner
    settings: Live[UrlPrerefreshSettings]
    forget: Callable[[Sequence[str]], Awaitable[object]]

    async def refresh(self, claims: Sequence[Claim]) -> _Results:
        """Renew the claims whose entries can be read. Raises ``CacheUnavailable``: the lease then returns them."""
        variants = [claim.item for claim in claims]
        headers = await self.shared.read_headers(variants)
        used = await self.usage.read(variants)
        now = self.urls.now()
        work: list[_Work] = []
        fresh: dict[ImageVariant, float] = {}
        idle: list[ImageVariant] = []
        for variant in variants:
            if variant not in headers or variant not in used:
                continue
            header, last_access = headers[variant], used[variant].last_access
            if last_access is None or last_access < now - self.settings.value.idle_after:
                idle.append(variant)
            elif (due := self.urls.lifetime.fresh_until(header.expires_at, now)) > now:
                fresh[variant] = due
            elif not self.urls.signer.renditions.value.has(variant.rendition):
                idle.append(variant)
            else:
                work.append((variant, header))
        await self.queue.schedule(fresh, only_if_queued=True)
        await self.queue.remove(idle)
        results = Counter(fresh=len(fresh), idle=len(idle))
        if work:
            results += await self._renew(work, {variant: usage.access_count for variant, usage in used.items()})
        return results

    async def _renew(self, work: Sequence[_Work], hits: Mapping[ImageVariant, float]) -> _Results:
        results: _Results = Counter()
        read_at = int(self.urls.now())
        try:
            rows = await self.catalog.fetch_rows(list({variant.image_id for variant, _ in work}))
        except CatalogUnavailable as error:
            return await self._isolate_failure(work, hits, error)
        made: list[Made] = []
        gone: list[str] = []
        expired: list[ImageVariant] = []
        slices = TimeSlices()
        for variant, there in work:
            await slices.pause()
            if (reason := rows.unusable.get(variant.image_id)) is not None:
                results[await self._fail(variant, reason)] += 1
            elif (record := rows.records.get(variant.image_id)) is None:
                gone.append(variant.image_id)
            else:
                try:
                    made.append(Made(self.urls.sign(record, variant.rendition, read_at), there))
                except CredentialsExpired:
                    expired.append(variant)
        await self.shared.keep(made, hits)
        await self.queue.postpone(expired, self.urls.now(), _POSTPONED_FOR)
        if gone:
            await self.forget(gone)
        results.update(renewed=len(made), gone=len(gone), postponed=len(expired))
        return results

    async def _isolate_failure(
        self, work: Sequence[_Work], hits: Mapping[ImageVariant, float], error: CatalogUnavailable
    ) -> _Results:
        """Halve a batch whose query failed until only the id at fault is left. Postpone the batch without Postgres."""
        try:
            await self.catalog.try_query()
        except CatalogUnavailable:
            await self.queue.postpone([variant for variant, _ in work], self.urls.now(), _POSTPONED_FOR)
            return Counter(postponed=len(work))
        if len(work) == 1:
            [(variant, _)] = work
            return Counter([await self._fail(variant, str(error))])
        half = len(work) // 2
        return await self._renew(work[:half], hits) + await self._renew(work[half:], hits)

    async def _fail(self, variant: ImageVariant, reason: str) -> str:
        given_up = await self.queue.fail(variant, reason, self.urls.now())
        if given_up:
            logger.error("renewal given up: image_id=%s reason=%s", variant.image_id, reason)
        return "dead" if given_up else "failed"
