"""How often images are requested: counted in memory, written to Redis once a second."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from gateway.concurrency.grouped_calls import GroupedCalls
from gateway.concurrency.time_slices import TimeSlices
from gateway.presign.signed_image import ImageVariant
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.usage_store import Usage, UsageBatch, UsageStore
from gateway.urls.access_totals import AccessTotals

logger = logging.getLogger(__name__)

_MAX_VARIANTS = 50_000
_BATCH_SIZE = 200  # variants; a script blocks Redis for about a third of a millisecond, and the loop for less than one
_COLLECTED_AT_ONCE = 100
_NO_USAGE = Usage()


class UsageCounter:
    """Counts without awaiting anything and without reading a clock.

    A variant's last access is set when its usage is read or flushed, so it is at most a second late.

    Counts that cannot be written are kept for the next flush, for at most ``max_variants`` variants. Beyond that,
    further variants are not counted, so that an outage of Redis costs a bounded amount of memory. A batch whose write
    got no answer is written again unchanged before anything newer: Redis adds the batch once.

    ``report_images`` gets the ids of the images used since the last flush, some at a time, once for each flush.
    """

    def __init__(
        self,
        store: UsageStore | None,
        *,
        report_images: Callable[[Iterable[str]], None] | None = None,
        max_variants: int = _MAX_VARIANTS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._report_images = report_images
        self._max_variants = max_variants
        self._now = now
        self._accesses: dict[ImageVariant, int] = {}  # since the last flush
        self._collecting: dict[ImageVariant, int] = {}  # counted before it, while they are moved to the next batch
        self._pending: dict[ImageVariant, Usage] = {}  # before it, and not yet written
        self._unconfirmed: UsageBatch | None = None
        self._batches = 0
        self._totals = AccessTotals(now)  # without ``_accesses`` and ``_collecting``
        self._reads: GroupedCalls[ImageVariant, int] = GroupedCalls("access-totals", self._read_totals)

    def accessed(self, image_id: str, rendition: str | None = None) -> None:
        """Count a use of the image's URL."""
        variant = ImageVariant(image_id, rendition)
        accesses = self._accesses.get(variant, 0)
        if accesses or self._has_room_for(variant):
            self._accesses[variant] = accesses + 1

    def refreshed(self, variant: ImageVariant) -> None:
        """Count a renewal of the variant's URL."""
        if self._has_room_for(variant):
            self._pending[variant] = _sum(self._pending.get(variant, _NO_USAGE), Usage(refresh_count=1))

    async def access_count(self, variant: ImageVariant) -> int:
        """Return how often the variant was used. Uses of other replicas are up to 30 seconds old.

        Redis is read once in 30 seconds, by a single command for all calls that arrive together. While Redis does not
        answer, the last number from Redis is used.
        """
        total = self._totals.get(variant)
        if total is None:
            total = await self._reads.run(variant)
        return total + self._accesses.get(variant, 0) + self._collecting.get(variant, 0)

    async def _read_totals(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, int]:
        """Return the numbers in Redis plus the numbers not written yet, without the accesses since the last flush."""
        unconfirmed, batches = self._unconfirmed, self._batches
        counts: dict[ImageVariant, int] = {}
        if self._store is not None:
            try:
                counts = await self._store.access_counts(variants)
            except CacheUnavailable as error:
                logger.debug("access counts are those of this process: %s", error)
        totals: dict[ImageVariant, int] = {}
        for variant in variants:
            unwritten = self._pending.get(variant, _NO_USAGE).access_count
            if variant not in counts:
                stale = self._totals.get_stale(variant)
                totals[variant] = unwritten + self._unconfirmed_count(variant) if stale is None else stale
                continue
            totals[variant] = counts[variant] + unwritten
            # While a batch is being written, the count in Redis may or may not include it, so it is read again later.
            if self._batches == batches and (unconfirmed is None or variant not in unconfirmed.counted):
                self._totals.put(variant, totals[variant])
        return totals

    def _unconfirmed_count(self, variant: ImageVariant) -> int:
        return self._unconfirmed.counted.get(variant, _NO_USAGE).access_count if self._unconfirmed is not None else 0

    async def usage(self, variant: ImageVariant) -> Usage:
        """Return the usage in Redis plus the usage not written yet. While Redis is down, return only the latter.

        A batch that may or may not have been added is not counted on top of Redis: no caller sees too many uses.
        """
        unwritten = self._pending.get(variant, _NO_USAGE)
        if accesses := self._accesses.get(variant, 0) + self._collecting.get(variant, 0):
            unwritten = _sum(unwritten, Usage(accesses, last_access=int(self._now())))
        if self._store is None:
            return unwritten
        try:
            return _sum(await self._store.read(variant), unwritten)
        except CacheUnavailable:
            counted = self._unconfirmed.counted if self._unconfirmed is not None else {}
            return _sum(counted.get(variant, _NO_USAGE), unwritten)

    async def close(self) -> None:
        """Cancel running reads. The counts stay."""
        await self._reads.close()

    async def flush(self) -> None:
        """Write the counts until now, ``_BATCH_SIZE`` variants at a time. Keep the counts while Redis is down."""
        await self._collect()
        if self._store is None:
            return
        try:
            for _ in range(1 + len(self._pending) // _BATCH_SIZE):
                await self._write_unconfirmed()
                taken = list(islice(self._pending, _BATCH_SIZE))
                if not taken:
                    return
                self._unconfirmed = self._store.batch({variant: self._pending.pop(variant) for variant in taken})
                self._batches += 1
            await self._write_unconfirmed()
        except CacheUnavailable as error:
            logger.debug("usage counts wait for redis: %s", error)

    async def _collect(self) -> None:
        """Move the accesses since the last flush to the next batch, first the accesses of a failed flush."""
        await self._collect_some()
        self._collecting, self._accesses = self._accesses, {}
        await self._collect_some()

    async def _collect_some(self) -> None:
        at = int(self._now())
        slices = TimeSlices()
        while self._collecting:
            some = [self._collecting.popitem() for _ in range(min(_COLLECTED_AT_ONCE, len(self._collecting)))]
            if self._report_images is not None:
                self._report_images(variant.image_id for variant, _ in some)
            for variant, count in some:
                used = Usage(count, last_access=at)
                earlier = self._pending.get(variant)
                self._pending[variant] = used if earlier is None else _sum(earlier, used)
                self._totals.add(variant, count)
            await slices.pause()

    async def _write_unconfirmed(self) -> None:
        """Write the unconfirmed batch, if there is one. Raises ``CacheUnavailable`` and keeps it."""
        if self._store is not None and self._unconfirmed is not None:
            await self._store.write(self._unconfirmed)
            self._unconfirmed = None

    def _has_room_for(self, variant: ImageVariant) -> bool:
        held = len(self._accesses) + len(self._collecting) + len(self._pending)
        return held < self._max_variants or variant in self._pending


def _sum(first: Usage, other: Usage) -> Usage:
    times = [at for at in (first.last_access, other.last_access) if at is not None]
    return Usage(
        first.access_count + other.access_count,
        first.refresh_count + other.refresh_count,
        max(times, default=None),
    )
