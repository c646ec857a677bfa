"""How often images are requested: counted in memory, written to Redis once a second."""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from gateway.concurrency.grouped_calls import GroupedCalls
from gateway.concurrency.time_limits import TimeSlices, in_groups
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shard
from gateway.redis_entries.usage_store import Usage, UsageBatch, UsageStore

_MAX_VARIANTS = 50_000
_BATCH_SIZE = 200  # variants; a script blocks Redis for about a third of a millisecond, and the loop for less than one
_COLLECTED_AT_ONCE = 100
_MOST_TOTALS = 10_000  # variants
_TOTAL_FRESH_FOR = 30.0  # seconds
_NEVER = float("-inf")
_NO_USAGE = Usage()


@dataclass(slots=True)
class _Backlog:
    """Counted uses of a shard's images (a share of all ids) that are not yet written to Redis, or may not have been."""

    waiting: dict[ImageVariant, Usage] = field(default_factory=dict)
    unconfirmed: UsageBatch | None = None

    def unwritten(self, variant: ImageVariant, *, with_unconfirmed: bool = False) -> Usage:
        waiting = self.waiting.get(variant, _NO_USAGE)
        if not with_unconfirmed or self.unconfirmed is None:
            return waiting
        return _sum(self.unconfirmed.counted.get(variant, _NO_USAGE), waiting)


class UsageCounter:
    """Counts uses of images in memory, without awaiting or reading a clock, and writes them to Redis each second.

    A variant's last access is set when its usage is read or flushed, so it is at most a second late.

    Counts that cannot be written are kept for the next flush, for at most ``max_variants`` variants, so that an outage
    of Redis costs a bounded amount of memory. A batch whose write got no answer is written again unchanged before
    anything newer of its shard: Redis adds the batch once. A server that does not answer holds up its shards alone.

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
        # Since the last flush. A pair equals its ``ImageVariant``, which takes five times as long to make.
        self._accesses: dict[tuple[str, str | None], int] = {}
        # Counted before it, and not yet written. None: without a store.
        self._backlogs: defaultdict[Shard | None, _Backlog] = defaultdict(_Backlog)
        self._waiting = 0  # variants in all of them
        self._batches = 0
        # The numbers of uses in Redis with those of this process since, without ``_accesses``; and when each was read.
        self._totals: OrderedDict[ImageVariant, tuple[int, float]] = OrderedDict()
        self._reads: GroupedCalls[ImageVariant, int] = GroupedCalls(
            "access-totals",
            self._read_totals,
            part_of=lambda variant: store.shards.address_of(variant.image_id) if store is not None else "",
        )

    def accessed(self, image_id: str, rendition: str | None = None) -> None:
        """Count a use of the image's URL."""
        pair = image_id, rendition
        accesses = self._accesses.get(pair, 0)
        if accesses or self._has_room_for(ImageVariant(*pair)):
            self._accesses[pair] = accesses + 1

    def refreshed(self, variant: ImageVariant) -> None:
        """Count a renewal of the variant's URL."""
        if self._has_room_for(variant):
            self._add(variant, Usage(refresh_count=1))

    async def access_count(self, variant: ImageVariant) -> int:
        """Return how often the variant was used. Uses of the last 30 seconds at other replicas may be missing.

        Reads that begin together share one command. While Redis does not answer, the last number from Redis is used.
        """
        total, read_at = self._totals.get(variant, (0, _NEVER))
        if not 0 <= self._now() - read_at < _TOTAL_FRESH_FOR:
            total = await self._reads.run(variant)
        return total + self._accesses.get(variant, 0)

    async def _read_totals(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, int]:
        """Return the numbers in Redis plus the numbers not written yet, without the accesses since the last flush."""
        backlogs = {variant: self._backlog_of(variant) for variant in variants}
        # While a batch is being written, the count in Redis may or may not include it, so it is read again later.
        written, batches = [backlog.unconfirmed for backlog in backlogs.values()], self._batches
        unsure = {variant for batch in written if batch is not None for variant in batch.counted}
        counts: dict[ImageVariant, int] = {}
        if self._store is not None:
            with suppress(CacheUnavailable):
                counts = await self._store.access_counts(variants)
        totals: dict[ImageVariant, int] = {}
        for variant, backlog in backlogs.items():
            if variant in counts:
                totals[variant] = counts[variant] + backlog.unwritten(variant).access_count
                if self._batches == batches and variant not in unsure:
                    self._keep_total(variant, totals[variant])
            elif variant in self._totals:
                totals[variant], _ = self._totals[variant]
            else:
                totals[variant] = backlog.unwritten(variant, with_unconfirmed=True).access_count
        return totals

    def _keep_total(self, variant: ImageVariant, total: int) -> None:
        self._totals[variant] = total, self._now()
        self._totals.move_to_end(variant)
        if len(self._totals) > _MOST_TOTALS:
            self._totals.popitem(last=False)

    async def usage(self, variant: ImageVariant) -> Usage:
        """Return the usage in Redis plus the usage not written yet. While Redis is down, return only the latter.

        A batch that may or may not have been added is not counted on top of Redis: no caller sees too many uses.
        """
        accesses, backlog = self._accesses.get(variant, 0), self._backlog_of(variant)
        now = Usage(accesses, last_access=int(self._now())) if accesses else _NO_USAGE
        unwritten = _sum(backlog.unwritten(variant), now)
        if self._store is None:
            return unwritten
        try:
            return _sum((await self._store.read([variant]))[variant], unwritten)
        except CacheUnavailable:
            return _sum(backlog.unwritten(variant, with_unconfirmed=True), now)

    async def close(self) -> None:
        """Cancel running reads. The counts stay."""
        await self._reads.close()

    async def flush(self) -> None:
        """Write the counts until now, ``_BATCH_SIZE`` variants at a time. Keep the counts while Redis is down."""
        await self._collect()
        if self._store is None:
            return
        held_up: set[Shard] = set()
        for _ in range(2 + self._waiting // _BATCH_SIZE):
            batches = self._next_batches(self._store, held_up)
            if not batches:
                return
            failed = await self._store.write(batches)
            for batch in batches:
                if batch.shard not in failed:
                    self._backlogs[batch.shard].unconfirmed = None
            held_up.update(failed)

    def _next_batches(self, store: UsageStore, held_up: Collection[Shard]) -> list[UsageBatch]:
        """Return what is unconfirmed, and batches of shards without, of up to ``_BATCH_SIZE`` variants together."""
        batches: list[UsageBatch] = []
        room = _BATCH_SIZE
        for shard, backlog in self._backlogs.items():
            if shard is None or shard in held_up:
                continue
            if backlog.unconfirmed is None and backlog.waiting and room:
                taken = list(islice(backlog.waiting, room))
                room -= len(taken)
                self._waiting -= len(taken)
                backlog.unconfirmed = store.batch(shard, {variant: backlog.waiting.pop(variant) for variant in taken})
                self._batches += 1
            if backlog.unconfirmed is not None:
                batches.append(backlog.unconfirmed)
        return batches

    async def _collect(self) -> None:
        """Move the accesses until now to the next batch."""
        at, slices = int(self._now()), TimeSlices()
        for pairs in in_groups(list(self._accesses), _COLLECTED_AT_ONCE):
            if self._report_images is not None:
                self._report_images(image_id for image_id, _ in pairs)
            for pair in pairs:
                if not (count := self._accesses.pop(pair, 0)):
                    continue  # a flush at the same time has taken it
                variant = ImageVariant(*pair)
                self._add(variant, Usage(count, last_access=at))
                if variant in self._totals:
                    total, read_at = self._totals[variant]
                    self._totals[variant] = total + count, read_at
            await slices.pause()

    def _backlog_of(self, variant: ImageVariant) -> _Backlog:
        return self._backlogs[self._store.shards.of(variant.image_id) if self._store is not None else None]

    def _add(self, variant: ImageVariant, usage: Usage) -> None:
        waiting = self._backlog_of(variant).waiting
        if (earlier := waiting.get(variant)) is None:
            waiting[variant] = usage
            self._waiting += 1
        else:
            waiting[variant] = _sum(earlier, usage)

    def _has_room_for(self, variant: ImageVariant) -> bool:
        held = len(self._accesses) + self._waiting
        return held < self._max_variants or variant in self._backlog_of(variant).waiting


def _sum(first: Usage, other: Usage) -> Usage:
    times = [at for at in (first.last_access, other.last_access) if at is not None]
    accesses, refreshes = first.access_count + other.access_count, first.refresh_count + other.refresh_count
    return Usage(accesses, refreshes, max(times, default=None))
