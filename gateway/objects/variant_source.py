"""Renditions: fetched whole from COS, and not requested again for a while where COS did not make them."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Counter

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import GatewayError, ImageTooLarge, OriginUnavailable
from gateway.objects.content import Content
from gateway.objects.object_body import ObjectBody, OriginAccess
from gateway.objects.object_cache import Entry
from gateway.origin.cos_errors import BodyLost
from gateway.origin.origin_response import read_at_most
from gateway.presign.signer import AuthorizedImage, ObjectId, SignedImage
from gateway.presign.style_variants import Rendition, Renditions
from gateway.settings import Live

# The most bytes of a rendition that is read before it is sent: as many as memory keeps, within these limits.
_LARGEST: Final = 2 * 1024 * 1024, 8 * 1024 * 1024
_MOST_AT_ONCE: Final = 128 * 1024 * 1024  # the most bytes of all renditions that are being read
_MOST_LARGE: Final = 10_000
_REFUSED_FOR: Final = 600.0  # seconds
_MOST_REFUSED: Final = 10_000  # variants
# After so many refused objects and no success, a format is regarded as turned off for the bucket.
_REFUSED_OBJECTS: Final = 5
# Formats that no rule can read; COS need not be asked (document 44880 lists those that it reads).
_UNREADABLE: Final = frozenset({"image/svg+xml"})


@dataclass(slots=True, eq=False)
class RefusedVariants:
    """Remembers up to 10,000 renditions (processed images) that COS refused: not requested again for ten minutes.

    ``changed_at`` returns when an image's row changed last (seconds of ``boot_time``): a refusal of an earlier request
    does not count.
    """

    renditions: Live[Renditions]
    changed_at: Callable[[str], float]
    now: Callable[[], float] = time.monotonic
    _refused: "OrderedDict[ObjectId, float]" = field(default_factory=OrderedDict)  # when
    # By bucket and format: the last objects that were refused, with when, the oldest first.
    _by_format: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def holds(self, image: SignedImage) -> bool:
        """Return whether COS would refuse the image's rendition, so that no request is needed."""
        if image.record.content_type in _UNREADABLE:
            return True
        if not self._refused:
            return False
        keys = self._by_format.get(self._format_of(image), {})
        is_off = len(keys) >= _REFUSED_OBJECTS and self.now() < next(iter(keys.values())) + _REFUSED_FOR
        return is_off or self._is_refused(image, image.object_id) or self._is_refused(image, image.object_id.original())

    def substitute_for(self, image: SignedImage, refusal: GatewayError | None) -> str | None:
        """Return the rendition to send instead, None for the original. ``refusal`` is None if COS was not asked."""
        if (
            image.rendition is None
            or isinstance(refusal, ImageTooLarge)
            or image.record.content_type in _UNREADABLE
            or self._is_refused(image, image.object_id.original())
        ):
            return None
        return self.renditions.value.fallback(image.rendition)

    def refused(self, image: SignedImage, error: GatewayError, requested_at: float) -> None:
        """Remember COS's refusal of a request. A refusal for the original's size holds for all of its renditions."""
        object_id = image.object_id
        if isinstance(error, ImageTooLarge):
            object_id = object_id.original()
        else:
            self._count_format(image)
        self._refused[object_id] = requested_at
        self._refused.move_to_end(object_id)
        if len(self._refused) > _MOST_REFUSED:
            self._refused.popitem(last=False)

    def made(self, image: SignedImage) -> None:
        """Forget that the format seemed to be switched off: COS has made one in it."""
        if self._by_format:
            self._by_format.pop(self._format_of(image), None)

    def _count_format(self, image: SignedImage) -> None:
        kind = bucket, image_format = self._format_of(image)
        if image_format == "original" or self._is_refused(image, self._in_original_format(image)):
            # The object was the reason, and not a format.
            for other, keys in self._by_format.items():
                if other[0] == bucket:
                    keys.pop(image.object_id.key, None)
            return
        keys = self._by_format.setdefault(kind, {})
        keys.pop(image.object_id.key, None)
        keys[image.object_id.key] = self.now()
        if len(keys) > _REFUSED_OBJECTS:
            del keys[next(iter(keys))]

    def _is_refused(self, image: SignedImage, object_id: ObjectId) -> bool:
        at = self._refused.get(object_id)
        return at is not None and self.now() < at + _REFUSED_FOR and at > self.changed_at(image.record.image_id)

    def _in_original_format(self, image: SignedImage) -> ObjectId:
        """Return the last of the renditions that replace each other: its format is that of the object."""
        name, renditions = image.rendition or "", self.renditions.value
        while (other := renditions.fallback(name)) is not None:
            name = other
        return image.object_id._replace(rendition=name, template=renditions.template(name))

    def _format_of(self, image: SignedImage) -> tuple[str, str]:
        rendition = image.object_id.rendition
        image_format = self.renditions.value.get(rendition).format if rendition is not None else None
        return image.object_id.bucket, image_format or "original"


class VariantSource:
    """Gets renditions (processed images) from COS: whole before the first byte is sent, with the gateway's own tag.

    It is unknown which checksum, entity tag and length COS sends with a processed image, what its HEAD describes, and
    whether it obeys conditions and ranges there (COS documents 44880 and 1246/109211 do not say). So nothing of that is
    used: a rendition is small and is read to its end, its tag is a hash of its bytes, and conditions and ranges are
    evaluated here. Only If-None-Match with COS's own tag is sent, which can save the processing, and is billed as such.
    A single request to COS serves all callers that wait for the same rendition.
    """

    def __init__(self, access: OriginAccess, renditions: Live[Renditions], refused: RefusedVariants) -> None:
        self._access = access
        self._memory = access.memory
        self._renditions = renditions
        self._refused = refused
        self._start_at_zero()
        renditions.watch(lambda *_: self._start_at_zero())
        self._large: dict[ObjectId, float] = {}  # when each was found to be so (monotonic seconds)
        self._fetches: SingleFlight[tuple[ObjectId, float], Content | None] = SingleFlight(
            "variant", access.metrics.coalesced_requests, cancel_without_callers=True
        )

    @property
    def _largest(self) -> int:
        settings, (least, most) = self._memory.settings.value, _LARGEST
        return min(max(min(settings.max_object_bytes, settings.max_bytes), least), most)

    def _start_at_zero(self) -> None:
        """Export the count of each rendition, so that ``rate()`` sees its first increase."""
        for name in self._renditions.value.names:
            self._made(self._renditions.value.get(name))

    def _made(self, rendition: Rendition) -> Counter:
        counts = self._access.metrics.variants
        return counts.labels(style=rendition.style, format=rendition.format or "fixed", result="made")

    async def fetch(self, image: AuthorizedImage, stale: Entry | None = None) -> Content | None:
        """Return the rendition from COS, or ``stale`` if COS confirms it. None: too large to be read before it is sent.

        Raises the errors of ``ObjectBody.open``, and ``OriginUnavailable`` if the body is lost.
        """
        # Requests after a change of the image do not share the answer to one before.
        changed_at = self._memory.changed_at(image.record.image_id)
        key = image.object_id, changed_at
        has_room = (len(self._fetches) + 1) * self._largest <= _MOST_AT_ONCE or self._fetches.running(key) is not None
        if not has_room or self._large.get(image.object_id, changed_at) > changed_at:
            return None
        fetched = await self._fetches.run(key, lambda: self._fetch(image, stale))
        return fetched.of(image) if fetched is not None else None

    async def close(self) -> None:
        await self._fetches.close()

    async def _fetch(self, image: AuthorizedImage, stale: Entry | None) -> Content | None:
        try:
            return await self._read(image, stale)
        except BodyLost as error:
            raise OriginUnavailable(str(error)) from error

    async def _read(self, image: AuthorizedImage, stale: Entry | None) -> Content | None:
        body = ObjectBody(self._access, image)
        kept = stale.body if stale is not None else None  # memory may drop it meanwhile
        tag = stale.origin_etag if stale is not None and kept is not None else None
        head = await body.open({"If-None-Match": tag} if tag is not None else {})
        try:
            if head.status == 304 and stale is not None:
                stale.requested_at = max(stale.requested_at, body.requested_at)
                return self._memory.kept(body.image, stale, kept, 304)
            is_large = body.state.length is not None and body.state.length > self._largest
            data = None if is_large else await read_at_most(body.read, self._largest)
        finally:
            body.close()
        if data is None:
            self._large[image.object_id] = body.requested_at
            if len(self._large) > _MOST_LARGE:
                del self._large[next(iter(self._large))]
            return None
        self._refused.made(image)
        if body.object_id.rendition is not None:
            self._made(self._renditions.value.get(body.object_id.rendition)).inc()
        tag = f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'
        metadata = head.metadata._replace(size=len(data), etag=tag)
        entry = self._memory.update(body.object_id, metadata, body.requested_at, data)
        entry.origin_etag = head.origin_etag
        # Memory may be off, or have a newer version: this request still gets the bytes it waited for.
        if entry.body is not None:
            metadata, data = entry.metadata, entry.body
        return Content(body.image, metadata, 200, data, had_stale=stale is not None, is_stored=True)
