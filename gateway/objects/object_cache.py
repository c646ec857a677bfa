"""Metadata and bytes of COS's objects in memory."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.changes.change_log import ChangeLog
from gateway.concurrency.clocks import boot_time
from gateway.objects.content import Content
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import AuthorizedImage, ObjectId, SignedImage
from gateway.settings import Live, MemoryCacheSettings

_MOST_ENTRIES: Final = 20_000


@dataclass(slots=True)
class Entry:
    """An entry of ``ObjectCache``: what COS answered about an object. ``requested_at``: when, by ``boot_time``.

    ``body`` is None where only the metadata is in memory. ``origin_etag`` is COS's entity tag of a rendition, whose
    metadata has one of the gateway's own.
    """

    metadata: ObjectMetadata
    body: bytes | None
    requested_at: float
    origin_etag: str | None = None


class ObjectCache:
    """Keeps metadata and bytes of COS's objects in memory. Evicts the least recently used, bytes apart from metadata.

    An answer of COS counts from the time of its request: it replaces no answer to a later request, and an image that
    has changed since, by the change log, does not use it, even if another image of the same object sent the request.

    The cache checks no access: that is done for every request before it looks here.
    """

    def __init__(
        self,
        settings: Live[MemoryCacheSettings],
        metrics: OriginMetrics,
        log: ChangeLog,
        steady: Callable[[], float] = boot_time,
    ) -> None:
        self.settings = settings
        self.changed_at = log.changed_at
        metrics.memory_cache_bytes.set_function(lambda: self._bytes)
        self.now = steady
        self._entries: OrderedDict[ObjectId, Entry] = OrderedDict()
        self._with_body: OrderedDict[ObjectId, int] = OrderedDict()
        self._bytes = 0
        settings.watch(lambda *_: self._shrink())

    def accepts(self, size: int | None) -> bool:
        """Return whether a body of that size, in bytes, is kept."""
        most = self.settings.value.max_bytes
        return size is not None and most > 0 and size <= min(self.settings.value.max_object_bytes, most)

    def get(self, image: SignedImage) -> Entry | None:
        """Return the entry of the image's object, however old. None: nothing since the image changed."""
        object_id = image.named or image.object_id  # most images here are named: no call
        if (entry := self._entries.get(object_id)) is None:
            return None
        if entry.requested_at <= self.changed_at(image.record.image_id):
            self.discard(object_id)
            return None
        self._entries.move_to_end(object_id)
        if entry.body is not None:
            self._with_body.move_to_end(object_id)
        return entry

    def content(self, image: AuthorizedImage) -> Content | None:
        """Return what is kept of the image, perhaps only metadata. None: COS has to be asked.

        Bytes up to twice ``memory_cache.ttl`` old are used while COS is asked about them: stale-while-revalidate.
        """
        if (entry := self.get(image)) is None:
            return None
        age, ttl = self.now() - entry.requested_at, self.settings.value.ttl
        if age >= ttl and (entry.body is None or age >= 2 * ttl):
            return None
        return Content(image, entry.metadata, None, entry.body, age, ttl - age)

    def known(self, image: SignedImage) -> ObjectMetadata | None:
        """Return the version of the image's object that COS sent last, or None. COS makes each rendition anew."""
        entry = self.get(image) if image.rendition is None else None
        return entry.metadata if entry is not None else None

    def age(self, entry: Entry) -> float:
        """Return the seconds since COS last sent or confirmed the entry (RFC 9111 section 4.2.3)."""
        return self.now() - entry.requested_at

    def kept(self, image: AuthorizedImage, stale: Entry, data: bytes | None, status: int | None) -> Content:
        """Return the bytes of ``stale``, which COS has confirmed with ``status``. None: COS failed."""
        return Content(image, stale.metadata, status, data, self.age(stale), had_stale=True)

    def update(
        self, object_id: ObjectId, metadata: ObjectMetadata, requested_at: float, body: bytes | None = None
    ) -> Entry:
        """Store COS's answer and return the entry of that version. ``body`` None: bytes of the same version stay."""
        entry = self._entries.get(object_id)
        is_same = entry is not None and metadata.is_version_of(entry.metadata)
        if entry is None or entry.requested_at <= requested_at:
            if entry is None or not is_same:
                self.discard(object_id)
                entry = self._entries[object_id] = Entry(metadata, None, requested_at)
            entry.metadata, entry.requested_at = metadata, requested_at
        elif not is_same:
            return Entry(metadata, body, requested_at)  # COS has sent another version since
        self._entries.move_to_end(object_id)
        if body is not None and entry.body is None and self.accepts(len(body)):
            entry.body = body
            self._with_body[object_id] = len(body)
            self._bytes += len(body)
            self._shrink()
        if len(self._entries) > _MOST_ENTRIES:
            self.discard(next(iter(self._entries)))
        return entry

    def answered(self, object_id: ObjectId, status: int, metadata: ObjectMetadata, requested_at: float) -> None:
        """Store the header of COS's answer to a GET. A 304 confirms the version of ``metadata``.

        That of a rendition, which has no tag yet, replaces none of which the bytes are known.
        """
        entry = self._entries.get(object_id)
        if status != 304:
            if metadata.size is not None and (object_id.rendition is None or entry is None or entry.body is None):
                self.update(object_id, metadata, requested_at)
            return
        if entry is not None and metadata.etag is not None and metadata.confirm(entry.metadata):
            entry.requested_at = max(entry.requested_at, requested_at)

    def discard(self, object_id: ObjectId) -> None:
        """Remove the entry of an object that was deleted or replaced."""
        if self._entries.pop(object_id, None) is not None:
            self._bytes -= self._with_body.pop(object_id, 0)

    def _shrink(self) -> None:
        while self._bytes > self.settings.value.max_bytes:
            least_recent, size = self._with_body.popitem(last=False)
            self._entries[least_recent].body = None
            self._bytes -= size
