"""The tier of the URL cache in Redis: entries and their renewals."""

import time
from collections.abc import Callable, Mapping, Sequence

from gateway.concurrency.time_slices import in_groups
from gateway.presign.lifetime import Lifetime
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.shards import Shard
from gateway.redis_store.url_entries import EntryHeader, Found, UrlEntries
from gateway.urls.entry_trust import EntryTrust

# The most variants of one command: packing them keeps the event loop busy for less than a millisecond.
_DROPPED_AT_ONCE = 200
_KEPT_AT_ONCE = 100


class SharedTier:
    """The URLs that replicas share. Raises ``CacheUnavailable``.

    An entry is kept for as long as its URL may be used and, if ``renews``, queued for renewal before that.
    """

    def __init__(
        self,
        entries: UrlEntries,
        trust: EntryTrust,
        lifetime: Lifetime,
        renditions: Renditions,
        *,
        renews: bool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._entries = entries
        self.trust = trust
        self._lifetime = lifetime
        self._renditions = renditions
        self._renews = renews
        self._now = now

    async def find(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, Found]:
        """Return the cached entries of the ``variants`` whose server answers. Raises if none does."""
        return await self._entries.get_many(variants)

    async def read_headers(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, EntryHeader]:
        """Return the headers of the entries of the ``variants`` whose server answers. Raises if none does."""
        return await self._entries.read_headers(variants)

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
        for some in [made] if len(made) <= _KEPT_AT_ONCE else in_groups(made, _KEPT_AT_ONCE):
            await self._entries.put_many(some, now, due)

    async def drop(self, image_ids: Sequence[str]) -> None:
        """Drop the entries of changed or deleted images, also against concurrent writes.

        Their usage stays: a changed row still names the same image. Of a shard whose server fails, no image is used
        whose row was read before now: the server may come back with it. Then raises ``CacheUnavailable``.
        """
        renditions = (None, *self._renditions.names)
        variants = [ImageVariant(image_id, rendition) for image_id in image_ids for rendition in renditions]
        failed: dict[Shard, CacheUnavailable] = {}
        for some in in_groups(variants, _DROPPED_AT_ONCE):
            failed.update(await self._entries.drop(some))
        for shard in failed:
            self.trust.invalidate_shard(shard)
        for error in failed.values():
            raise error

    def server_of(self, image_id: str) -> str:
        """Return the address of the node that holds the image, or "" outside of a Cluster."""
        return self._entries.shards.address_of(image_id)

    async def lock_renewal(self, variant: ImageVariant) -> bool:
        """Return whether this caller is the first within a second to renew the variant on demand."""
        return await self._entries.lock_renewal(variant)
