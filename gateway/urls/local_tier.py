"""The local tier of the URL cache: a bounded number of signed images in this process."""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeAlias

from gateway.concurrency.clocks import boot_time
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.settings import UrlCacheSettings

# The key of an original is its id, because a hundred thousand tuples take seven megabytes.
_Key: TypeAlias = ImageVariant | str

# Ids of images that do not exist have one place for so many of images, so that they push none out.
_MISSING_SHARE = 10
# Entries kept within a sixteenth of a second share the number that says until when they are fresh.
_FRESH_STEP = 1 / 16


class ImageMissing(LookupError):
    """The catalog had no such image at the last look-up."""


@dataclass(slots=True)  # never changed; a frozen one takes three times as long to make
class _Entry:
    image: SignedImage
    fresh_until: float
    generation: int


class _Missing(NamedTuple):
    """The catalog has no such image."""

    fresh_until: float
    generation: int


class LocalState(NamedTuple):
    """An entry as an operator sees it: None for an unknown id, and for how many seconds it is fresh (0.0: stale)."""

    image: SignedImage | None
    fresh_for: float


class LocalTier:
    """Signed images. The least recently used image is evicted first.

    An entry is stale ``local_ttl`` seconds after its ``put``. A stale entry is served only while the stores behind this
    tier do not answer.

    That an image does not exist is cached for ``unknown_ttl`` seconds: many requests for the same id cost a single
    query, and a new image is found soon. Anyone can make up ids of images that do not exist. So such ids have places of
    their own, a tenth of ``max_size``.

    A look-up that began before an image was dropped must not restore the image. So the look-up takes a ``mark`` before
    it reads, and ``put`` does nothing when the image was dropped after the mark.
    """

    def __init__(
        self,
        settings: UrlCacheSettings,
        renditions: Renditions,
        *,
        unknown_ttl: float,
        monotonic: Callable[[], float] = boot_time,
    ) -> None:
        self._settings = settings
        self._max_size = settings.max_size if settings.enabled else 0
        self._renditions = renditions
        self._unknown_ttl = unknown_ttl
        self._monotonic = monotonic
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._missing: OrderedDict[_Key, _Missing] = OrderedDict()
        self._drops = 0
        self._untracked_drops = 0  # every drop up to this number counts as one of every image
        self._stale_drops = 0
        self._generation = 0  # entries of an earlier one are stale
        self._renditions_drops = 0  # look-ups that began before this drop keep nothing
        self._dropped: OrderedDict[str, int] = OrderedDict()
        self._last_fresh_until = 0.0

    def use(self, settings: UrlCacheSettings) -> None:
        """Use these limits from now on. Entries kept longer become stale. ``enabled`` stays as it was at the start."""
        if settings.local_ttl < self._settings.local_ttl:
            self.mark_all_stale()
        self._settings = settings
        self._max_size = settings.max_size if settings.enabled else 0
        self._evict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, variant: ImageVariant) -> SignedImage | None:
        """Return the fresh entry, or None. Raises ``ImageMissing`` while it is cached that there is no such image."""
        key = variant if variant.rendition is not None else variant.image_id
        entry = self._entries.get(key)
        if entry is None:
            missing = self._missing.get(key)
            if missing is not None and self._fresh_for(missing) > 0:
                raise ImageMissing
            return None
        if entry.fresh_until <= self._monotonic() or entry.generation != self._generation:
            return None
        self._entries.move_to_end(key)
        return entry.image

    def get_stale(self, variant: ImageVariant) -> SignedImage | None:
        """Return the entry at any age, or None."""
        entry = self._entries.get(_key(variant))
        return entry.image if entry is not None else None

    def recent(self, most: int) -> Iterator[SignedImage]:
        """Iterate over the images among the ``most`` entries that were used last, at any age."""
        return (entry.image for entry in islice(reversed(self._entries.values()), most))

    def inspect(self, variant: ImageVariant) -> "LocalState | None":
        """Return the entry at any age, or None without an entry. The call does not count as a use of the entry."""
        key = _key(variant)
        if (entry := self._entries.get(key)) is not None:
            return LocalState(entry.image, self._fresh_for(entry))
        missing = self._missing.get(key)
        fresh_for = self._fresh_for(missing) if missing is not None else 0
        return LocalState(None, fresh_for) if fresh_for > 0 else None

    def mark(self) -> int:
        """Return the number of drops so far. Take it before reading what will be put."""
        return self._drops

    def put(self, image: SignedImage, mark: int, usable_for: float) -> None:
        """Cache the image as fresh for up to ``usable_for`` seconds, unless it was dropped since ``mark``."""
        variant = ImageVariant(image.record.image_id, image.rendition)
        if self._was_dropped(variant.image_id, mark):
            return
        key, fresh_until = _key(variant), self._fresh_until(min(self._settings.local_ttl, usable_for), mark)
        self._entries[key] = _Entry(image, fresh_until, self._generation)
        self._entries.move_to_end(key)
        self._missing.pop(key, None)
        self._evict()

    def put_unknown(self, variant: ImageVariant, mark: int) -> None:
        """Cache that there is no such image, unless it was dropped since ``mark``."""
        if self._was_dropped(variant.image_id, mark):
            return
        key, fresh_until = _key(variant), self._fresh_until(self._unknown_ttl, mark)
        self._missing[key] = _Missing(fresh_until, self._generation)
        self._missing.move_to_end(key)
        self._entries.pop(key, None)
        self._evict()

    def drop(self, image_id: str) -> None:
        """Remove the image in every rendition."""
        for rendition in (None, *self._renditions.names):
            key = _key(ImageVariant(image_id, rendition))
            self._entries.pop(key, None)
            self._missing.pop(key, None)
        self._drops += 1
        self._dropped[image_id] = self._drops
        self._dropped.move_to_end(image_id)
        if len(self._dropped) > max(1000, self._max_size):
            _, self._untracked_drops = self._dropped.popitem(last=False)

    def drop_renditions(self, renditions: Container[str | None]) -> None:
        """Remove every image in these renditions (None: the original), and discard the results of running look-ups."""
        for part in (self._entries, self._missing):
            for key in [key for key in part if (None if isinstance(key, str) else key.rendition) in renditions]:
                del part[key]
        self._drops += 1
        self._renditions_drops = self._drops

    def mark_all_stale(self) -> None:
        """Mark every entry and every running look-up stale: notifications may have been missed."""
        if self._dropped:
            self._untracked_drops = next(reversed(self._dropped.values()))  # the last one
            self._dropped.clear()
        self._drops += 1
        self._stale_drops = self._drops
        self._generation += 1

    def _was_dropped(self, image_id: str, mark: int) -> bool:
        return mark < self._renditions_drops or self._dropped.get(image_id, self._untracked_drops) > mark

    def _fresh_until(self, ttl: float, mark: int) -> float:
        fresh_until = self._monotonic() + (ttl if mark >= self._stale_drops else 0)
        fresh_until -= fresh_until % _FRESH_STEP
        if fresh_until != self._last_fresh_until:
            self._last_fresh_until = fresh_until
        return self._last_fresh_until

    def _fresh_for(self, entry: _Entry | _Missing) -> float:
        return max(0.0, entry.fresh_until - self._monotonic()) if entry.generation == self._generation else 0.0

    def _evict(self) -> None:
        while len(self._entries) > self._max_size:
            self._entries.popitem(last=False)
        while self._missing and (len(self._missing) - 1) * _MISSING_SHARE >= self._max_size:
            self._missing.popitem(last=False)


def _key(variant: ImageVariant) -> _Key:
    return variant if variant.rendition is not None else variant.image_id
