"""Which entries of Redis may be used without reading their rows again."""

import time
from collections.abc import Callable, Collection

from gateway.presign.lifetime import CLOCK_SKEW, Lifetime
from gateway.presign.signed_image import SignedImage
from gateway.redis_store.shards import Shard, Shards


class EntryTrust:
    """Rejects entries whose rows may have changed unnoticed since they were read."""

    def __init__(self, shards: Shards, lifetime: Lifetime, now: Callable[[], float] = time.time) -> None:
        self._shards = shards
        self._lifetime = lifetime
        self._now = now
        self._is_trusted = True
        self._invalid_before = float("-inf")
        self._rows_read_after: dict[str | None, float] = {}  # by rendition; only those that a reload has changed
        self._shards_after: dict[Shard, float] = {}  # only shards in which an image could not be dropped

    def may_be_used(self, image: SignedImage) -> bool:
        """Return whether a found image may be used without reading its row again."""
        if not self._is_trusted or image.read_at < self._invalid_before:
            return False
        if self._rows_read_after and image.read_at < self._rows_read_after.get(image.rendition, 0):
            return False
        if self._shards_after:
            shard = self._shards.of(image.record.image_id)
            if image.read_at < self._shards_after.get(shard, 0):
                return False
        return self._lifetime.is_usable(image.presigned, self._now())

    def invalidate_before(self, at: float) -> None:
        """Reject images whose row was read before ``at`` (Unix seconds)."""
        self._invalid_before = at + CLOCK_SKEW

    def invalidate_shard(self, shard: Shard) -> None:
        """Reject images of the shard whose row was read before now."""
        self._shards_after[shard] = self._now() + CLOCK_SKEW

    def invalidate_renditions(self, renditions: Collection[str | None]) -> None:
        """Trust no cached entry of these renditions whose row was read before now. None: of the original.

        A reload added or changed the renditions. While a rendition is not configured, a change of a row does not drop
        its entries, so entries from an earlier time may be old.
        """
        self._rows_read_after.update(dict.fromkeys(renditions, self._now() + CLOCK_SKEW))

    def stop_trusting(self) -> None:
        """Trust no cached entry until ``trust_from``."""
        self._is_trusted = False

    def trust_from(self, at: float) -> None:
        """Trust the entries whose rows were read after ``at`` (Unix seconds)."""
        self._is_trusted = True
        self.invalidate_before(at)
