"""The local tier of the URL cache: a bounded number of signed images in this process."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from gateway.changes.change_log import ChangeLog
from gateway.concurrency.clocks import boot_time
from gateway.presign.signer import SignedImage, untrack
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.settings import Live, UrlCacheSettings

# The key of an original is its id, because a hundred thousand tuples take seven megabytes.
_Key: TypeAlias = ImageVariant | str

_MISSING_SHARE = 10  # ids of images that do not exist have one place for so many of images
# Entries kept within a sixteenth of a second share the number that says until when they are fresh.
_FRESH_STEP = 1 / 16
_shared: Final = lru_cache(maxsize=64)(float)


class ImageMissing(LookupError):
    """Postgres had no such image at the last look-up."""


@dataclass(slots=True)  # a frozen one takes three times as long to make
class _Entry:
    """An entry of the local tier (URLs in this process's memory)."""

    image: SignedImage | None  # None: the catalog has no such image
    fresh_until: float
    generation: int

    @property
    def is_brief(self) -> bool:
        """Whether it is kept so shortly that it is used though changes may not be heard."""
        return self.image is None or self.image.unread


class LocalState(NamedTuple):
    """An entry of the local tier, for operators. ``image``: None for an unknown id. ``fresh_for``: seconds."""

    image: SignedImage | None
    fresh_for: float


class LocalTier:
    """Keeps images with their presigned URLs in this process's memory, and evicts the least recently used first.

    An entry is stale ``local_ttl`` seconds after its ``put``, and while the change log trusts no rows, since a change
    may not be heard. A stale entry is served only while the stores behind this tier do not answer.

    That an image does not exist is cached for ``unknown_ttl`` seconds: many requests for the same id cost a single
    query, and a new image is found soon. Anyone can make up such ids, so they have places of their own and push no
    image out.

    A look-up that began before a change must not restore the image. So the look-up takes a ``mark``, the number of the
    change log, before it reads, and ``put`` does nothing when the image has changed since the mark.
    """

    def __init__(
        self,
        settings: Live[UrlCacheSettings],
        renditions: Live[Renditions],
        log: ChangeLog,
        *,
        unknown_ttl: float,
        steady: Callable[[], float] = boot_time,
    ) -> None:
        self._settings = settings
        settings.watch(self._replaced)
        self._renditions = renditions
        self._log = log
        self._unknown_ttl = unknown_ttl
        self.now = steady
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._missing: OrderedDict[_Key, _Entry] = OrderedDict()
        # Each entry has the generation of its ``put``. Nothing walks over all of them, which would hold the event loop.
        self._generation = self._stale_before = 0
        self._void_before: dict[str | None, int] = {}  # by rendition
        self._renditions_changed = 0  # look-ups that began before this number of the log keep nothing

    def _replaced(self, old: UrlCacheSettings, new: UrlCacheSettings) -> None:
        """Keep within the new limits. Entries that were kept longer become stale."""
        if new.local_ttl < old.local_ttl:
            self.drop_all()
        self._evict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, variant: _Key) -> SignedImage | None:
        """Return the fresh entry, or None. Raises ``ImageMissing`` while it is cached that there is no such image."""
        key = variant if isinstance(variant, str) or variant.rendition is not None else variant.image_id
        if (entry := self._entries.get(key)) is None:
            if (missing := self._missing.get(key)) is not None and self._fresh_for(key, missing) > 0:
                raise ImageMissing
            return None
        now = self.now()
        if entry.fresh_until <= now or (entry.generation != self._generation and not self._is_current(key, entry)):
            return None
        if self._log.rows_trusted_until <= now and not entry.is_brief:
            return None
        self._entries.move_to_end(key)
        return entry.image

    def get_stale(self, variant: ImageVariant) -> SignedImage | None:
        """Return the entry at any age, or None."""
        key = _key(variant)
        entry = self._entries.get(key)
        return entry.image if entry is not None and not self._is_void(key, entry) else None

    def was_missing(self, variant: ImageVariant) -> bool:
        """Return whether the last look-up here, however long ago, found no such image."""
        key = _key(variant)
        return (missing := self._missing.get(key)) is not None and not self._is_void(key, missing)

    def recent(self, most: int) -> Iterator[SignedImage]:
        """Iterate over the images among the ``most`` entries that were used last, at any age."""
        entries = islice(reversed(self._entries.items()), most)
        return (entry.image for key, entry in entries if entry.image is not None and not self._is_void(key, entry))

    def inspect(self, variant: ImageVariant) -> LocalState | None:
        """Return the entry at any age, or None without an entry. The call does not count as a use of the entry."""
        key = _key(variant)
        if (entry := self._entries.get(key)) is not None and not self._is_void(key, entry):
            return LocalState(entry.image, self._fresh_for(key, entry))
        if (missing := self._missing.get(key)) is not None and (fresh_for := self._fresh_for(key, missing)) > 0:
            return LocalState(None, fresh_for)
        return None

    def mark(self) -> int:
        """Return the number of the last change. Take it before reading what will be put."""
        return self._log.number

    def put(self, image: SignedImage, mark: int, usable_for: float) -> None:
        """Cache the image as fresh for up to ``usable_for`` seconds, unless it has changed since ``mark``."""
        variant, ttl = ImageVariant(image.record.image_id, image.rendition), self._settings.value.local_ttl
        self._put(variant, image, min(ttl, usable_for), mark)

    def put_unknown(self, variant: ImageVariant, mark: int, began: float) -> None:
        """Cache that there was no such image when its look-up ``began``, unless it has changed since ``mark``."""
        self._put(variant, None, self._unknown_ttl + began - self.now(), mark)

    def _put(self, variant: ImageVariant, image: SignedImage | None, ttl: float, mark: int) -> None:
        if mark < self._renditions_changed or self._log.changed_since(variant.image_id, mark):
            return
        key = _key(variant)
        kept, others = (self._entries, self._missing) if image is not None else (self._missing, self._entries)
        fresh_until = self.now() + (0 if self._log.missed_since(mark) else ttl)
        fresh_until = _shared(fresh_until - fresh_until % _FRESH_STEP)
        kept[key] = entry = _Entry(image, fresh_until, self._generation)
        untrack(key, entry)  # and the image: nothing that they refer to refers to them
        if image is not None:
            untrack(image, image.record, image.presigned, image.named)
        kept.move_to_end(key)
        others.pop(key, None)
        self._evict()

    def drop(self, image_id: str) -> None:
        """Remove the image in every rendition."""
        for rendition in (None, *self._renditions.value.names):
            key = _key(ImageVariant(image_id, rendition))
            self._entries.pop(key, None)
            self._missing.pop(key, None)

    def drop_renditions(self, renditions: Iterable[str | None]) -> None:
        """Use no image in these renditions (None: the original), and discard the results of running look-ups."""
        self._generation += 1
        self._void_before.update(dict.fromkeys(renditions, self._generation))
        self._renditions_changed = self._log.advance()

    def drop_all(self) -> None:
        """Make every entry stale."""
        self._generation += 1
        self._stale_before = self._generation

    def _is_void(self, key: _Key, entry: _Entry) -> bool:
        """Return whether the rendition was dropped since. The entry stays until another one takes its place."""
        rendition = None if isinstance(key, str) else key.rendition
        return entry.generation < self._void_before.get(rendition, 0)

    def _is_current(self, key: _Key, entry: _Entry) -> bool:
        """Return whether nothing was dropped since that concerns the entry, and let the next ``get`` see it at once."""
        if entry.generation < self._stale_before or self._is_void(key, entry):
            return False
        entry.generation = self._generation
        return True

    def _fresh_for(self, key: _Key, entry: _Entry) -> float:
        now = self.now()
        is_trusted = entry.is_brief or now < self._log.rows_trusted_until
        return max(0.0, entry.fresh_until - now) if is_trusted and self._is_current(key, entry) else 0.0

    def _evict(self) -> None:
        most = self._settings.value.max_size if self._settings.value.enabled else 0
        while len(self._entries) > most:
            self._entries.popitem(last=False)
        while self._missing and (len(self._missing) - 1) * _MISSING_SHARE >= most:
            self._missing.popitem(last=False)


def _key(variant: ImageVariant) -> _Key:
    return variant if variant.rendition is not None else variant.image_id
