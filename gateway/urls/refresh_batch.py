"""The renewal of a batch of claimed URLs: one query, one write, and a result for every claim."""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.catalog.record import Catalog, ImageRecord
from gateway.concurrency.time_slices import TimeSlices
from gateway.errors import CatalogUnavailable, CredentialsExpired
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.redis_entries.url_entries import UrlEntries
from gateway.redis_queue.leased_queue import Claim
from gateway.redis_queue.refresh_queue import RefreshQueue
from gateway.urls.claim_selection import ClaimSelection, Work

logger = logging.getLogger(__name__)

_POSTPONED_FOR = 5.0  # seconds


# ``UsableUrls.sign``, with the row, the rendition, and when the row was read. Raises ``CredentialsExpired``.
Sign = Callable[[ImageRecord, str | None, int], SignedImage]


class RefreshBatch:
    """Renews claims. ``refresh`` counts each claim under a result:

    - ``renewed``
    - ``fresh``: already renewed by another worker or a request.
    - ``idle``: not requested for ``idle_after`` seconds, so not renewed.
    - ``gone``: the image does not exist.
    - ``postponed``: Postgres does not answer, or the credentials end.
    - ``failed``: to be tried again.
    - ``dead``: given up.

    selection: chooses the claims that need a renewal.
    forget: called with images that do not exist: it invalidates them and removes their usage.
    """

    def __init__(
        self,
        selection: ClaimSelection,
        catalog: Catalog,
        sign: Sign,
        shared: UrlEntries,
        queue: RefreshQueue,
        forget: Callable[[Sequence[str]], Awaitable[object]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.selection = selection
        self._catalog = catalog
        self._sign = sign
        self._shared = shared
        self._queue = queue
        self._forget = forget
        self._now = now

    async def refresh(self, claims: Sequence[Claim[ImageVariant]]) -> "Counter[str]":
        """Renew the claims and count the results. Raises ``CacheUnavailable``: the lease then returns the claims."""
        selected = await self.selection.select(claims)
        if selected.work:
            return selected.results + await self._refresh(selected.work, selected.hits)
        return selected.results

    async def _refresh(self, work: Sequence[Work], hits: Mapping[ImageVariant, float]) -> "Counter[str]":
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
                image = self._sign(record, variant.rendition, read_at)
            except CredentialsExpired:
                expired.append(variant)
            else:
                made.append((image, item.there.tombstone))
        await self._shared.keep(made, hits)
        await self._queue.postpone(expired, self._now(), _POSTPONED_FOR)
        if gone:
            await self._forget(gone)
        results.update(renewed=len(made), gone=len(gone), postponed=len(expired))
        return results

    async def _isolate_failure(
        self, work: Sequence[Work], hits: Mapping[ImageVariant, float], error: CatalogUnavailable
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
        return await self._refresh(work[:half], hits) + await self._refresh(work[half:], hits)

    async def _fail(self, variant: ImageVariant, reason: str) -> str:
        given_up = await self._queue.fail(variant, reason, self._now())
        if given_up:
            logger.error("renewal given up: image_id=%s reason=%s", variant.image_id, reason)
        return "dead" if given_up else "failed"
