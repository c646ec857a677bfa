"""Which entries of Redis may be used without reading their rows again."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from gateway.presign.lifetime import CLOCK_SKEW, Lifetime
from gateway.presign.signed_image import SignedImage
from gateway.redis_store.shards import Shard, Shards

_MOST_CHANGED: Final = 20_000  # images, about 2 MB


class EntryTrust:
    """Rejects entries whose rows may have changed unnoticed since they were read.

    Redis may lose its last writes: a replica that was behind takes over, or a server loads a snapshot. Then it has the
    entry of a changed image again, so the last ``most_changed`` changes are remembered here. Earlier changes are
    forgotten: a statement that changes a million rows must not send every other image to Postgres.
    """

    def __init__(
        self,
        shards: Shards,
        lifetime: Lifetime,
        now: Callable[[], float] = time.time,
        *,
        most_changed: int = _MOST_CHANGED,
    ) -> None:
        self._shards = shards
        self._lifetime = lifetime
        self._now = now
        self._is_trusted = True
        self._invalid_before = float("-inf")
        self._rows_read_after: dict[str | None, float] = {}  # by rendition; only those that a reload has changed
        self._shards_after: dict[Shard, float] = {}  # only shards in which an image could not be dropped
        self._most_changed = most_changed
        self._changed_at: OrderedDict[str, float] = OrderedDict()  # by image id, the oldest change first

    def may_be_used(self, image: SignedImage, tombstone: bytes = b"") -> bool:
        """Return whether a found image may be used without reading its row again.

        ``tombstone``: what its entry replaced. Such a row was read after the image was dropped.
        """
        if not self._is_trusted or image.read_at < self._invalid_before:
            return False
        if (changed_at := self._changed_at.get(image.record.image_id)) is not None and image.read_at < (
            int(changed_at) if tombstone else changed_at + CLOCK_SKEW
        ):
            return False
        if self._rows_read_after and image.read_at < self._rows_read_after.get(image.rendition, 0):
            return False
        if self._shards_after:
            shard = self._shards.of(image.record.image_id)
            if image.read_at < self._shards_after.get(shard, 0):
                return False
        return self._lifetime.is_usable(image.presigned, self._now())

    def invalidate_before(self, at: float) -> None:
        """Reject images whose row was read before ``at`` (Unix seconds), which is now: earlier changes are included."""
        self._invalid_before = at + CLOCK_SKEW
        self._changed_at.clear()

    def changed(self, image_id: str) -> None:
        """Reject the image if its row was read before now."""
        self._changed_at[image_id] = self._now()
        self._changed_at.move_to_end(image_id)
        if len(self._changed_at) > self._most_changed:
            self._changed_at.popitem(last=False)

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
