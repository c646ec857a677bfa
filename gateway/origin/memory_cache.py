"""What the process knows of objects, and the bytes of small hot ones: bounded in number and in bytes."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.metrics import Metrics
from gateway.origin.facts import ObjectFacts
from gateway.settings import MemoryCacheSettings
from gateway.urls.presigned import ObjectId

_MOST_ENTRIES = 20_000


@dataclass(slots=True)
class Entry:
    """One version of an object; ``body`` is None where only the facts are known. ``validated_at`` is monotonic."""

    facts: ObjectFacts
    body: bytes | None
    validated_at: float
    image_ids: set[str] = field(default_factory=set)


class ObjectCache:
    """Least recently used goes first, bytes apart from facts.

    Who may see an image is none of its business: access is checked on every request, before anything is asked here.
    """

    def __init__(
        self, settings: MemoryCacheSettings, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        metrics.memory_cache_bytes.set_function(lambda: self._bytes)
        self._monotonic = monotonic
        self._entries: OrderedDict[ObjectId, Entry] = OrderedDict()
        self._with_body: OrderedDict[ObjectId, int] = OrderedDict()
        self._bytes = 0
        self._objects_of: dict[str, set[ObjectId]] = {}

    def takes(self, size: int | None) -> bool:
        """Whether bytes of that size are kept."""
        return size is not None and size <= min(self._settings.max_object_bytes, self._settings.max_bytes)

    def get(self, object_id: ObjectId) -> Entry | None:
        """What is known, however old."""
        entry = self._entries.get(object_id)
        if entry is not None:
            self._entries.move_to_end(object_id)
            if entry.body is not None:
                self._with_body.move_to_end(object_id)
        return entry

    def age(self, entry: Entry) -> float:
        """Seconds since COS last said that this is how the object is."""
        return self._monotonic() - entry.validated_at

    def learn(self, object_id: ObjectId, image_id: str, facts: ObjectFacts, body: bytes | None = None) -> Entry:
        """COS has just told ``facts``; ``body`` are all bytes of it. Bytes of the same version stay."""
        entry = self._entries.get(object_id)
        if entry is not None and entry.facts == facts and body is None and image_id in entry.image_ids:
            entry.validated_at = self._monotonic()
            self._entries.move_to_end(object_id)
            return entry
        if entry is None or (entry.facts.etag, entry.facts.size) != (facts.etag, facts.size) or facts.etag is None:
            self.forget(object_id)
            entry = self._entries[object_id] = Entry(facts, None, 0.0)
        entry.facts = facts
        entry.validated_at = self._monotonic()
        if body is not None and entry.body is None and self.takes(len(body)):
            entry.body = body
            self._with_body[object_id] = len(body)
            self._bytes += len(body)
        self._entries.move_to_end(object_id)
        entry.image_ids.add(image_id)
        self._objects_of.setdefault(image_id, set()).add(object_id)
        self._evict()
        return entry

    def answered(self, object_id: ObjectId, image_id: str, status: int, facts: ObjectFacts) -> None:
        """COS has just answered a GET with ``status``: a 304 says that the object is still the version of ``facts``."""
        if status != 304:
            if facts.size is not None:
                self.learn(object_id, image_id, facts)
            return
        entry = self._entries.get(object_id)
        if entry is not None and entry.facts.etag == facts.etag:
            entry.validated_at = self._monotonic()

    def forget(self, object_id: ObjectId) -> None:
        """The object is gone, or another."""
        entry = self._entries.pop(object_id, None)
        if entry is None:
            return
        self._bytes -= self._with_body.pop(object_id, 0)
        for image_id in entry.image_ids:
            objects = self._objects_of[image_id]
            objects.discard(object_id)
            if not objects:
                del self._objects_of[image_id]

    def drop(self, image_id: str) -> None:
        """The image has changed: whatever is known of its objects, in every style, is forgotten."""
        for object_id in list(self._objects_of.get(image_id, ())):
            self.forget(object_id)

    def _evict(self) -> None:
        while self._bytes > self._settings.max_bytes:
            object_id, size = self._with_body.popitem(last=False)
            self._entries[object_id].body = None
            self._bytes -= size
        while len(self._entries) > _MOST_ENTRIES:
            self.forget(next(iter(self._entries)))
