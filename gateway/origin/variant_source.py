"""Bytes of renditions: read whole before the first byte is sent, with an entity tag of the gateway's own.

It is unknown which checksum, entity tag and length COS sends with a processed image, what its HEAD describes, and
whether it obeys conditions and ranges there (COS documents 44880 and 1246/109211 do not say). So nothing of that is
used: a rendition is small and is read to its end, its tag is a hash of its bytes, and conditions and ranges are
evaluated here. Only If-None-Match with COS's own tag is sent, which can save the processing, and is billed as such.
"""

import hashlib
from typing import Final

from prometheus_client import Counter

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, Unavailable
from gateway.origin.content import Content
from gateway.origin.errors import BodyLost
from gateway.origin.failures import RefusedVariants
from gateway.origin.memory_cache import STALE_IF_ERROR, Entry, ObjectCache
from gateway.origin.metrics import OriginMetrics
from gateway.origin.transfer import ObjectBody, OriginAccess
from gateway.presign.renditions import Rendition, Renditions
from gateway.presign.signed_image import AuthorizedImage, ObjectId
from gateway.settings import Live, MemoryCacheSettings

_LARGEST: Final = 2 * 1024 * 1024  # bytes that are read before the first one is sent, if memory keeps less
_MOST_AT_ONCE: Final = 128 * 1024 * 1024  # the most bytes of all running fetches
_MOST_LARGE: Final = 10_000


class VariantSource:
    """Fetches renditions, with a single request to COS for all callers that wait for the same rendition."""

    def __init__(
        self,
        access: OriginAccess,
        memory: ObjectCache,
        renditions: Renditions,
        refused: RefusedVariants,
        settings: Live[MemoryCacheSettings],
        metrics: OriginMetrics,
    ) -> None:
        self._access = access
        self._memory = memory
        self._renditions = renditions
        self._refused = refused
        self._counts = metrics.variants
        self._settings = settings
        self._start_at_zero()
        renditions.watch(lambda _: self._start_at_zero())
        self._reserved = 0
        self._large: dict[ObjectId, float] = {}  # when each was found to be so (monotonic seconds)
        self._fetches: SingleFlight[tuple[ObjectId, float], Content | None] = SingleFlight(
            "variant", metrics.coalesced_requests, cancel_without_callers=True
        )

    @property
    def _largest(self) -> int:
        """The most bytes of a rendition that is read before it is sent."""
        return max(self._settings.value.max_object_bytes, _LARGEST)

    def _start_at_zero(self) -> None:
        """Export the count of each rendition, so that ``rate()`` sees its first increase."""
        for rendition in map(self._renditions.get, self._renditions.names):
            self._made(rendition)

    def _made(self, rendition: Rendition) -> Counter:
        return self._counts.labels(style=rendition.style, format=rendition.format or "fixed", result="made")

    async def fetch(self, image: AuthorizedImage, stale: Entry | None = None) -> Content | None:
        """Return the rendition from COS, or None if it is too large to be read before it is sent.

        ``stale`` is used if COS confirms it, or if COS fails. Raises the errors of ``ObjectBody.open``, and
        ``OriginUnavailable`` if the body is lost.
        """
        # Requests after a change of the image do not share the answer to one before.
        changed_at = self._memory.changed_at(image.record.image_id)
        is_large = self._large.get(image.object_id, changed_at) > changed_at
        if is_large or self._reserved + self._largest > _MOST_AT_ONCE:
            return None
        fetched = await self._fetches.run((image.object_id, changed_at), lambda: self._fetch(image, stale))
        return fetched.of(image) if fetched is not None else None

    async def close(self) -> None:
        """Stop running fetches."""
        await self._fetches.close()

    async def _fetch(self, image: AuthorizedImage, stale: Entry | None) -> Content | None:
        kept = stale.body if stale is not None else None  # memory may drop it meanwhile
        self._reserved += (reserved := self._largest)
        try:
            return await self._read(image, stale, kept)
        except (OriginUnavailable, OriginTimeout, Unavailable):
            if stale is None or kept is None or self._memory.age(stale) > STALE_IF_ERROR:
                raise
            return Content(image, stale.metadata, None, kept, age=self._memory.age(stale), had_stale=True)
        finally:
            self._reserved -= reserved

    async def _read(self, image: AuthorizedImage, stale: Entry | None, kept: bytes | None) -> Content | None:
        requested_at = self._memory.now()
        body = ObjectBody(self._access, image)
        tag = stale.origin_etag if stale is not None and kept is not None else None
        head = await body.open({"If-None-Match": tag} if tag is not None else {})
        try:
            if head.status == 304 and stale is not None:
                stale.requested_at = max(stale.requested_at, requested_at)
                return Content(body.image, stale.metadata, 304, kept, age=self._memory.age(stale), had_stale=True)
            data = await self._read_body(body)
        finally:
            body.close()
        if data is None:
            self._large[image.object_id] = requested_at
            if len(self._large) > _MOST_LARGE:
                del self._large[next(iter(self._large))]
            return None
        self._refused.made(image)
        self._count(body.object_id)
        metadata = head.metadata._replace(size=len(data), etag=_entity_tag(data))
        entry = self._memory.update(body.object_id, metadata, requested_at, data)
        entry.origin_etag = head.origin_etag
        # Memory may be off, or have a newer version: this request still gets the bytes it waited for.
        if entry.body is not None:
            metadata, data = entry.metadata, entry.body
        return Content(body.image, metadata, 200, data, had_stale=stale is not None, is_stored=True)

    def _count(self, object_id: ObjectId) -> None:
        if object_id.rendition is not None:
            rendition = self._renditions.get(object_id.rendition)
            self._made(rendition).inc()

    async def _read_body(self, body: ObjectBody) -> bytes | None:
        """Return the whole body, or None if it is larger than ``_largest``."""
        if body.state.length is not None and body.state.length > self._largest:
            return None
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await body.read():
                pieces.append(piece)
                size += len(piece)
                if size > self._largest:
                    return None
        except BodyLost as error:
            raise OriginUnavailable(str(error)) from error
        return b"".join(pieces)


def _entity_tag(data: bytes) -> str:
    return f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'
