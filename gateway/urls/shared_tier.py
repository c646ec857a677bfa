"""The tier of the URL cache in Redis: entries, their usage, and the refresh queue."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from gateway.concurrency.time_slices import in_groups
from gateway.presign.lifetime import CLOCK_SKEW, Lifetime
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.redis_store.description_store import DescriptionStore
from gateway.redis_store.entry_codec import encode_variant
from gateway.redis_store.guarded_client import CacheUnavailable, GuardedRedis
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.redis_store.url_entries import EntryHeader, Found, UrlEntries
from gateway.redis_store.usage_store import INDEX_LIFE, UsageStore
from gateway.settings import UrlCacheSettings

_RENEWAL_LOCK = 1
# The most variants of one command: packing them keeps the event loop busy for less than a millisecond.
_DROPPED_AT_ONCE = 200
_KEPT_AT_ONCE = 100  # the script blocks Redis for about a millisecond
_TRIMMED_AT_ONCE, _MOST_TRIMMED = 100, 1000


class SharedTier:
    """The URLs that replicas share. Raises ``CacheUnavailable``.

    An entry is kept for as long as its URL may be used and, if ``renews``, queued for renewal before that.
    """

    def __init__(
        self,
        guard: GuardedRedis,
        cache: UrlEntries,
        usage: UsageStore,
        queue: RefreshQueue,
        lifetime: Lifetime,
        *,
        descriptions: DescriptionStore,
        renditions: Renditions,
        settings: UrlCacheSettings,
        renews: bool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._cache = cache
        self._usage = usage
        self._queue = queue
        self._index_keys = *usage.index_keys, *queue.keys
        self._lifetime = lifetime
        self._descriptions = descriptions
        self._renditions = renditions
        self.settings = settings
        self._renews = renews
        self._now = now
        self._is_trusted = True
        self._invalid_before = float("-inf")
        self._rows_read_after: dict[str | None, float] = {}  # by rendition; only those that a reload has changed

    async def find(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, Found]:
        """Return the cached entries of ``variants``."""
        return await self._cache.get_many(variants)

    def may_be_used(self, image: SignedImage) -> bool:
        """Return whether a found image may be used without reading its row again."""
        if not self._is_trusted or image.read_at < self._invalid_before:
            return False
        if self._rows_read_after and image.read_at < self._rows_read_after.get(image.rendition, 0):
            return False
        return self._lifetime.is_usable(image.presigned, self._now())

    def invalidate_before(self, at: float) -> None:
        """Reject images whose row was read before ``at`` (Unix seconds)."""
        self._invalid_before = at + CLOCK_SKEW

    def invalidate_renditions(self, renditions: Collection[str | None]) -> None:
        """Reject images in these renditions whose row was read before now.

        A change of a row drops only the entries of the renditions that are configured at that time.
        """
        self._rows_read_after.update(dict.fromkeys(renditions, self._now() + CLOCK_SKEW))

    def stop_trusting(self) -> None:
        """Reject every image until ``trust_from``."""
        self._is_trusted = False

    def trust_from(self, at: float) -> None:
        """Accept images whose rows were read after ``at`` (Unix seconds)."""
        self._is_trusted = True
        self.invalidate_before(at)

    async def read_headers(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, EntryHeader]:
        """Return the header of the entry of each of ``variants``."""
        return await self._cache.read_headers(variants)

    async def keep(
        self, made: Sequence[tuple[SignedImage, bytes]], hits: Mapping[ImageVariant, float] | None = None
    ) -> None:
        """Keep images, each with the tombstone found before its row was read, and queue their renewals.

        Images with more ``hits`` are renewed earlier.
        """
        if not made:
            return
        now = self._now()
        due: dict[ImageVariant, float] = {}
        if self._renews:
            for image, _ in made:
                variant = ImageVariant(image.record.image_id, image.rendition)
                due[variant] = self._lifetime.due_at(image.presigned, hits.get(variant, 0) if hits else 0)
        if self._guard.is_cluster:
            await self._keep_in_steps(made, due, now)
        else:
            for some in [made] if len(made) <= _KEPT_AT_ONCE else in_groups(made, _KEPT_AT_ONCE):
                await self._cache.put_many(
                    some, now, self._lifetime, due=due, index_keys=self._index_keys, index_life=INDEX_LIFE
                )

    async def _keep_in_steps(
        self, made: Sequence[tuple[SignedImage, bytes]], due: Mapping[ImageVariant, float], now: float
    ) -> None:
        """Keep, index and queue in separate steps: no script of a Cluster may name keys in several slots."""
        kept = await self._cache.put_many(made, now, self._lifetime)
        ends = {ImageVariant(image.record.image_id, image.rendition): image.presigned.expires_at for image, _ in made}
        ends = {variant: end for variant, end in ends.items() if kept[variant]}
        if ends:
            await self._usage.add(ends, now)
            await self._queue.schedule({variant: at for variant, at in due.items() if variant in ends})

    async def drop(self, image_ids: Sequence[str]) -> None:
        """Drop the entries of changed or deleted images, also against concurrent writes.

        Their usage stays: a changed row still names the same image. If they cannot be dropped, no image is used whose
        row was read before now: Redis may come back with them.
        """
        try:
            await self._drop(image_ids)
        except CacheUnavailable:
            self.invalidate_before(self._now())
            raise

    async def _drop(self, image_ids: Sequence[str]) -> None:
        for variants in in_groups(self._variants_of(image_ids), _DROPPED_AT_ONCE):
            # The entries last: one that is kept after its tombstone must stay in the queue.
            await self._queue.remove(variants)
            await self._usage.remove_expiry(variants)
            await self._cache.drop(variants)
        for some in in_groups(image_ids, _DROPPED_AT_ONCE):
            await self._descriptions.remove(some)

    async def remove_usage(self, image_ids: Sequence[str]) -> None:
        """Remove the usage of images that do not exist."""
        for variants in in_groups(self._variants_of(image_ids), _DROPPED_AT_ONCE):
            await self._usage.remove(variants)

    async def lock_renewal(self, variant: ImageVariant) -> bool:
        """Return whether this caller is the first within a second to renew the variant on demand."""
        key = self._guard.key("refresh", "lock", encode_variant(variant))
        async with self._guard.bounded():
            return bool(await self._guard.client.set(key, b"", nx=True, ex=_RENEWAL_LOCK))

    async def trim(self) -> int:
        """Remove up to 1000 variants beyond ``max_size``, the least recently used first. Return their number."""
        trimmed = 0
        while trimmed < _MOST_TRIMMED:
            taken = await self._usage.take_least_used(self.settings.max_size, _TRIMMED_AT_ONCE)
            if taken:
                await self._cache.remove(taken)
                await self._queue.remove(taken)
                await self._usage.remove(taken)
            trimmed += len(taken)
            if len(taken) < _TRIMMED_AT_ONCE:
                break
        return trimmed

    async def repair(self) -> None:
        """Delete values of the wrong type under the keys of sets. An entry is overwritten by its next write."""
        await self._usage.repair()
        await self._queue.repair()

    async def repair_if_needed(self) -> None:
        """Repair when any command, alone or in a pipeline, has met such a value."""
        if self._guard.met_wrong_type():
            await self.repair()

    def _variants_of(self, image_ids: Sequence[str]) -> list[ImageVariant]:
        renditions = (None, *self._renditions.names)
        return [ImageVariant(image_id, rendition) for image_id in image_ids for rendition in renditions]
