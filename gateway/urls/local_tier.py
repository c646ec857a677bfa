"""The tier before Redis: a bounded number of signed images in this process."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.urls.presigned import SignedImage


@dataclass(frozen=True, slots=True)
class _Kept:
    image: SignedImage | None  # None: known not to be there
    fresh_until: float


class LocalTier:
    """Least recently used goes first. ``local_ttl`` seconds after it was put, an entry is stale, not gone.

    A stale entry is served only where the stores behind this tier do not answer. ``unknown_ttl`` seconds long it is
    remembered that an image does not exist; so many requests for one id cost one query, and an image that appears
    is seen soon.
    """

    def __init__(
        self, max_size: int, *, local_ttl: float, unknown_ttl: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_size = max_size
        self._local_ttl = local_ttl
        self._unknown_ttl = unknown_ttl
        self._monotonic = monotonic
        self._entries: OrderedDict[tuple[str, str | None], _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, image_id: str, style: str | None) -> SignedImage | None:
        """The fresh entry; None when there is none. Raises ``KnownUnknown`` while the image is known not to exist."""
        kept = self._entries.get((image_id, style))
        if kept is None or kept.fresh_until <= self._monotonic():
            return None
        self._entries.move_to_end((image_id, style))
        if kept.image is None:
            raise KnownUnknown
        return kept.image

    def get_stale(self, image_id: str, style: str | None) -> SignedImage | None:
        """The entry, however old; None when there is none."""
        kept = self._entries.get((image_id, style))
        return kept.image if kept is not None else None

    def put(self, image: SignedImage) -> None:
        """Keep the image as fresh."""
        self._keep((image.record.image_id, image.style), image, self._local_ttl)

    def put_unknown(self, image_id: str, style: str | None) -> None:
        """Remember for a while that there is no such image."""
        self._keep((image_id, style), None, self._unknown_ttl)

    def drop(self, image_id: str, styles: tuple[str | None, ...]) -> None:
        """Forget the image in each of ``styles`` (None: the image itself)."""
        for style in styles:
            self._entries.pop((image_id, style), None)

    def _keep(self, key: tuple[str, str | None], image: SignedImage | None, ttl: float) -> None:
        self._entries[key] = _Kept(image, self._monotonic() + ttl)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_size:
            self._entries.popitem(last=False)


class KnownUnknown(LookupError):
    """The image was looked for a moment ago and does not exist."""
