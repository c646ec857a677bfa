"""The tier before Redis: a bounded number of signed images in this process."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from gateway.presign.signed_image import ImageVariant, SignedImage

# Seconds that go on while the machine is suspended, as the life of a URL does. Only Linux has such a clock.
_boot_time = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class KnownUnknown(LookupError):
    """The image was looked for a moment ago and does not exist."""


@dataclass(frozen=True, slots=True)
class _Kept:
    image: SignedImage | None  # None: known not to exist
    kept_at: float
    fresh_until: float


class LocalTier:
    """Least recently used goes first. ``local_ttl`` seconds after it was put, an entry is stale, not gone.

    A stale entry is served only where the stores behind this tier do not answer. For ``unknown_ttl`` seconds it is
    remembered that an image does not exist: many requests for one id cost one query, and an image that appears is
    seen soon.

    A look-up that began before an image was dropped must not bring it back: it takes a ``mark`` before it reads, and
    what it puts is refused if the image was dropped since.
    """

    def __init__(
        self,
        max_size: int,
        styles: Iterable[str] = (),
        *,
        local_ttl: float,
        unknown_ttl: float,
        monotonic: Callable[[], float] = _boot_time,
    ) -> None:
        self._max_size = max_size
        self._styles = (None, *styles)
        self._local_ttl = local_ttl
        self._unknown_ttl = unknown_ttl
        self._monotonic = monotonic
        self._entries: OrderedDict[ImageVariant, _Kept] = OrderedDict()
        self._drops = 0
        self._forgotten_drops = 0  # all up to this one count as drops of every image
        self._doubted = 0
        self._doubted_before = float("-inf")
        self._dropped: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, variant: ImageVariant) -> SignedImage | None:
        """The fresh entry; None when there is none. Raises ``KnownUnknown`` while the image is known not to exist."""
        kept = self._entries.get(variant)
        if kept is None or kept.fresh_until <= self._monotonic() or kept.kept_at < self._doubted_before:
            return None
        self._entries.move_to_end(variant)
        if kept.image is None:
            raise KnownUnknown
        return kept.image

    def get_stale(self, variant: ImageVariant) -> SignedImage | None:
        """The entry, however old; None when there is none."""
        kept = self._entries.get(variant)
        return kept.image if kept is not None else None

    def mark(self) -> int:
        """Now, in drops; take it before reading what will be put."""
        return self._drops

    def put(self, image: SignedImage, mark: int, usable_for: float) -> None:
        """Keep the image as fresh while its URL may be used (seconds), unless it was dropped since ``mark``."""
        ttl = min(self._local_ttl, usable_for)
        self._keep(ImageVariant(image.record.image_id, image.style), image, ttl, mark)

    def put_unknown(self, variant: ImageVariant, mark: int) -> None:
        """Remember for a while that there is no such image, unless it was dropped since ``mark``."""
        self._keep(variant, None, self._unknown_ttl, mark)

    def drop(self, image_id: str) -> None:
        """Forget the image in every style."""
        for style in self._styles:
            self._entries.pop(ImageVariant(image_id, style), None)
        self._drops += 1
        self._dropped[image_id] = self._drops
        self._dropped.move_to_end(image_id)
        if len(self._dropped) > max(1000, self._max_size):
            _, self._forgotten_drops = self._dropped.popitem(last=False)

    def mark_all_stale(self) -> None:
        """Everything may have changed unheard: it is stale from now on, and so is what is being looked up."""
        self._dropped.clear()
        self._forgotten_drops = self._drops
        self._drops += 1
        self._doubted = self._drops
        self._doubted_before = self._monotonic()

    def _keep(self, variant: ImageVariant, image: SignedImage | None, ttl: float, mark: int) -> None:
        if self._dropped.get(variant.image_id, self._forgotten_drops) > mark:
            return
        now = self._monotonic()
        self._entries[variant] = _Kept(image, now, now + ttl if mark >= self._doubted else now)
        self._entries.move_to_end(variant)
        while len(self._entries) > self._max_size:
            self._entries.popitem(last=False)
