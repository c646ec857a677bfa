"""Variants that COS did not make: they are not requested again for ten minutes."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.errors import GatewayError, ImageTooLarge
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ObjectId, SignedImage

_HELD: Final = 600.0  # seconds
_MOST_OBJECTS: Final = 10_000
# After so many refused objects and no success, a format is regarded as turned off for the bucket.
_REFUSED_OBJECTS: Final = 5
# Formats that no rule can read; COS need not be asked (document 44880 lists those that it reads).
_UNREADABLE: Final = frozenset({"image/svg+xml"})


class RefusedVariants:
    """What COS did not make, in memory: of at most 10,000 objects.

    ``changed_at`` returns when an image's row changed last (seconds of ``boot_time``): a refusal of an earlier request
    does not count.
    """

    def __init__(
        self,
        renditions: Renditions,
        changed_at: Callable[[str], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renditions = renditions
        self._changed_at = changed_at
        self.now = monotonic
        self._refused: OrderedDict[ObjectId, float] = OrderedDict()  # when
        self._by_format: dict[tuple[str, str], set[str]] = {}  # bucket and format -> keys of refused objects
        self._off_since: dict[tuple[str, str], float] = {}

    def holds(self, image: SignedImage) -> bool:
        """Return whether COS would refuse the image's rendition, so that no request is needed."""
        if image.record.content_type in _UNREADABLE:
            return True
        if not self._refused:
            return False
        return (
            self._is_refused(image, image.object_id)
            or self._is_refused(image, image.object_id.original())
            or self._is_off(image)
        )

    def substitute_for(self, image: SignedImage, refusal: GatewayError | None) -> str | None:
        """Return the rendition to send in place of one that COS does not make. None: the original.

        refusal: COS's error. None if COS was not asked.
        """
        if (
            image.rendition is None
            or isinstance(refusal, ImageTooLarge)
            or image.record.content_type in _UNREADABLE
            or self._is_refused(image, image.object_id.original())
        ):
            return None
        return next(self._renditions.fallbacks(image.rendition), None)

    def refused(self, image: SignedImage, error: GatewayError, requested_at: float) -> None:
        """Remember COS's refusal of a request. A refusal for the original's size holds for all of its renditions."""
        object_id = image.object_id
        if isinstance(error, ImageTooLarge):
            object_id = object_id.original()
        else:
            self._count_format(image)
        self._refused[object_id] = requested_at
        self._refused.move_to_end(object_id)
        if len(self._refused) > _MOST_OBJECTS:
            self._refused.popitem(last=False)

    def made(self, image: SignedImage) -> None:
        """Forget that the format seemed to be switched off: COS has made one in it."""
        if self._by_format:
            self._by_format.pop(self._format_of(image), None)

    def _count_format(self, image: SignedImage) -> None:
        kind = self._format_of(image)
        bucket, image_format = kind
        if image_format == "original":  # the object was the reason, and not a format
            for other, keys in self._by_format.items():
                if other[0] == bucket:
                    keys.discard(image.object_id.key)
            return
        keys = self._by_format.setdefault(kind, set())
        keys.add(image.object_id.key)
        if len(keys) >= _REFUSED_OBJECTS:
            keys.clear()
            self._off_since[kind] = self.now()

    def _is_refused(self, image: SignedImage, object_id: ObjectId) -> bool:
        at = self._refused.get(object_id)
        return at is not None and self.now() < at + _HELD and at > self._changed_at(image.record.image_id)

    def _is_off(self, image: SignedImage) -> bool:
        since = self._off_since.get(self._format_of(image))
        return since is not None and self.now() < since + _HELD

    def _format_of(self, image: SignedImage) -> tuple[str, str]:
        rendition = image.object_id.rendition
        image_format = self._renditions.get(rendition).format if rendition is not None else None
        return image.object_id.bucket, image_format or "original"
