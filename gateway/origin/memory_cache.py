"""What the process knows of objects, and the bytes of small hot ones: bounded in number and in bytes."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.metrics.collectors import Metrics
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signed_image import ObjectId, SignedImage
from gateway.settings import MemoryCacheSettings

_MOST_ENTRIES = 20_000
_MOST_CHANGES = 20_000
_NEVER = float("-inf")


@dataclass(slots=True)
class Entry:
    """One version of an object, as it was when COS was asked (``asked_at``, monotonic seconds).

    ``body`` is None where only the facts are known.
    """

    metadata: ObjectMetadata
    body: bytes | None
    asked_at: float


class ObjectCache:
    """Least recently used goes first, bytes apart from facts.

    What an answer teaches counts as of when it was asked for: it never outdoes what was asked for later, and an image
    that has changed since takes it for nothing, whichever image of the same object had asked.

    Who may see an image is none of its business: access is checked on every request, before anything is asked here.
    """

    def __init__(
        self, settings: MemoryCacheSettings, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._ttl = settings.ttl
        metrics.memory_cache_bytes.set_function(lambda: self._bytes)
        self.now = monotonic
        self._entries: OrderedDict[ObjectId, Entry] = OrderedDict()
        self._with_body: OrderedDict[ObjectId, int] = OrderedDict()
        self._bytes = 0
        self._changes: OrderedDict[str, float] = OrderedDict()  # when images changed, the last ones
        self._before_those = _NEVER  # any other image may have changed at that time, or never

    def takes(self, size: int | None) -> bool:
        """Whether bytes of that size are kept."""
        most = self._settings.max_bytes
        return size is not None and most > 0 and size <= min(self._settings.max_object_bytes, most)

    def fresh(self, image: SignedImage) -> Entry | None:
        """Return the entry of its object that may be used without asking COS; None: there is none."""
        entry = self.get(image)
        return entry if entry is not None and self.now() - entry.asked_at < self._ttl else None

    def freshness(self, entry: Entry) -> float:
        """Return for how many seconds the entry may be used without asking COS; negative once it is stale."""
        return self._ttl - self.age(entry)

    def get(self, image: SignedImage) -> Entry | None:
        """What is known of its object, however old; nothing from before the image changed."""
        object_id = image.object_id
        entry = self._entries.get(object_id)
        if entry is None:
            return None
        if entry.asked_at <= self._changes.get(image.record.image_id, self._before_those):
            self.forget(object_id)
            return None
        self._entries.move_to_end(object_id)
        if entry.body is not None:
            self._with_body.move_to_end(object_id)
        return entry

    def age(self, entry: Entry) -> float:
        """Seconds since COS was last asked whether this is how the object is (RFC 9111 section 4.2.3)."""
        return self.now() - entry.asked_at

    def learn(self, object_id: ObjectId, metadata: ObjectMetadata, asked_at: float, body: bytes | None = None) -> Entry:
        """COS has told ``metadata``; ``body`` are all bytes of it. Bytes of the same version stay."""
        entry = self._entries.get(object_id)
        is_same = entry is not None and metadata.is_version_of(entry.metadata)
        if entry is None or entry.asked_at <= asked_at:
            if entry is None or not is_same:
                self.forget(object_id)
                entry = self._entries[object_id] = Entry(metadata, None, asked_at)
            entry.metadata = metadata
            entry.asked_at = asked_at
        elif not is_same:
            return Entry(metadata, body, asked_at)  # another version is known since
        self._entries.move_to_end(object_id)
        if body is not None and entry.body is None and self.takes(len(body)):
            self._keep(object_id, entry, body)
        if len(self._entries) > _MOST_ENTRIES:
            self.forget(next(iter(self._entries)))
        return entry

    def answered(self, object_id: ObjectId, status: int, metadata: ObjectMetadata, asked_at: float) -> None:
        """COS has answered a GET with ``status``: a 304 says that the object is still the version of ``metadata``."""
        if status != 304:
            if metadata.size is not None:
                self.learn(object_id, metadata, asked_at)
            return
        entry = self._entries.get(object_id)
        if entry is not None and metadata.etag is not None and metadata.confirm(entry.metadata):
            entry.asked_at = max(entry.asked_at, asked_at)

    def forget(self, object_id: ObjectId) -> None:
        """The object is gone, or another."""
        if self._entries.pop(object_id, None) is not None:
            self._bytes -= self._with_body.pop(object_id, 0)

    def drop(self, image_id: str) -> None:
        """The image has changed: nothing that COS was asked for before counts for it, in any style."""
        self._changes[image_id] = self.now()
        self._changes.move_to_end(image_id)
        if len(self._changes) > _MOST_CHANGES:
            _, self._before_those = self._changes.popitem(last=False)

    def changed_at(self, image_id: str) -> float:
        """When the image may have changed last (monotonic seconds): what was asked for later is of what it is now."""
        return self._changes.get(image_id, self._before_those)

    def _keep(self, object_id: ObjectId, entry: Entry, body: bytes) -> None:
        entry.body = body
        self._with_body[object_id] = len(body)
        self._bytes += len(body)
        while self._bytes > self._settings.max_bytes:
            used_longest_ago, size = self._with_body.popitem(last=False)
            self._entries[used_longest_ago].body = None
            self._bytes -= size
