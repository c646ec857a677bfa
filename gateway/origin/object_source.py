"""The objects of images: from memory, from a transfer that another request started, or from COS."""

import hashlib
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs
from prometheus_client import Counter

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, RangeNotSatisfiable, Unavailable
from gateway.origin.client import MOST_UNATTENDED
from gateway.origin.errors import BodyLost
from gateway.origin.failures import RefusedVariants
from gateway.origin.memory_cache import STALE_IF_ERROR, Content, Entry
from gateway.origin.origin_response import ObjectMetadata, read_at_most
from gateway.origin.transfer import ObjectBody, OriginAccess, SharedTransfers
from gateway.origin.transfer_state import BufferLimits
from gateway.presign.renditions import Rendition, Renditions
from gateway.presign.signed_image import AuthorizedImage, ObjectId

_NO_CONDITIONS: Final[Mapping[str, str]] = {}
_FAILURES: Final = (OriginUnavailable, OriginTimeout, Unavailable)  # of COS, and not of the image
_LARGEST: Final = 2 * 1024 * 1024  # bytes of a rendition that is read before it is sent, if memory keeps less
_MOST_AT_ONCE: Final = 128 * 1024 * 1024  # the most bytes of all renditions that are being read
_MOST_LARGE: Final = 10_000


class ObjectSource:
    """Asks COS for as little as possible: for nothing while memory is fresh, and once for simultaneous requests."""

    def __init__(self, access: OriginAccess, variants: "VariantSource", limits: BufferLimits | None = None) -> None:
        self.memory = access.memory
        self.transfers = SharedTransfers(access, limits)
        self._access = access
        self._variants = variants
        coalesced = access.metrics.coalesced_requests
        self._heads: SingleFlight[tuple[ObjectId, float], Content] = SingleFlight(
            "head", coalesced, cancel_without_callers=True
        )
        self._revalidations: SingleFlight[ObjectId, None] = SingleFlight("revalidation", coalesced)

    def revalidate(self, image: AuthorizedImage) -> None:
        """Ask COS about old bytes that are used, unless many others are asked about: then the next request may do it.

        This is stale-while-revalidate.
        """
        entry = self.memory.get(image)
        if entry is not None and len(self._revalidations) < MOST_UNATTENDED:
            self._revalidations.start(image.object_id, lambda: self._revalidate_unattended(image, entry))

    async def from_cos(
        self, image: AuthorizedImage, conditions: Mapping[str, str], byte_range: str | None = None, *, is_head: bool
    ) -> Content:
        """Ask COS for the image, for a part of it, or only for its metadata. ``conditions`` may make COS answer 304.

        Bytes in memory are used if COS confirms them, or if COS fails. Raises the errors of ``ObjectBody.open``.
        """
        stale = self.memory.get(image)
        if image.rendition is not None:
            return await self._rendition(image, stale)
        if stale is not None and stale.body is not None:
            return await self._revalidated(image, stale, stale.body)
        if is_head:
            return await self.head(image)
        if byte_range is not None:
            return await self._part(image, byte_range, conditions)
        return await self.whole(image, conditions)

    async def rest_from_cos(self, content: Content, byte_range: str | None) -> Content:
        """Fetch the bytes of an image of which only the metadata, or another part, is known. Raises as ``from_cos``."""
        image = content.image
        if image.rendition is not None:
            return await self._rendition(image, None)
        # COS may answer a HEAD, or a GET of a part, unlike a GET of the whole: it is not asked for parts again.
        if byte_range is not None and content.fresh_for is not None and not self.keeps(content.metadata):
            return await self._part(image, byte_range, _NO_CONDITIONS)
        return await self.whole(image)

    def keeps(self, metadata: ObjectMetadata) -> bool:
        """Return whether such an object is fetched whole, so that every range of it can be served from memory."""
        return metadata.strong_etag is not None and self.memory.accepts(metadata.size)

    async def head(self, image: AuthorizedImage) -> Content:
        """Return the metadata that COS sends in answer to a HEAD. Raises what ``ObjectBody.open`` raises."""
        # Requests after a change of the image do not share the answer to one before.
        key = image.object_id, self.memory.changed_at(image.record.image_id)
        return (await self._heads.run(key, lambda: self._head(image))).of(image)

    async def whole(self, image: AuthorizedImage, conditions: Mapping[str, str] = _NO_CONDITIONS) -> Content:
        """Return the whole object: its bytes, if all came with the header, or a reader of them.

        Raises the errors of ``ObjectBody.open``.
        """
        reader = await self.transfers.join(image, conditions)
        transfer, data = reader.transfer, None
        head, state = transfer.body.state.head, transfer.state
        if state.whole is not None and head.has_body:
            data = state.whole
            reader.close()
        return Content(
            image,
            head.metadata,
            head.status,
            data,
            body=reader if data is None else None,
            is_stored=state.keeps_all,
            is_collapsed=reader.is_collapsed,
        )

    async def _rendition(self, image: AuthorizedImage, stale: Entry | None) -> Content:
        content = await self._variants.fetch(image, stale)
        return content if content is not None else await self.whole(image)

    async def _revalidated(self, image: AuthorizedImage, stale: Entry, data: bytes) -> Content:
        """Ask COS whether the object is still the version of ``stale``, whose bytes are ``data``.

        Raises the errors of ``ObjectBody.open``. If COS failed, they are raised only once the bytes are a day old.
        """
        try:
            content = await self.whole(image, {"If-None-Match": stale.metadata.etag or ""})
            if content.status == 304:
                if content.body is not None:
                    content.body.close()
                if content.metadata.confirm(stale.metadata):
                    return self.memory.kept(image, stale, data, 304)
                content = await self.whole(image)
        except _FAILURES:
            if self.memory.age(stale) >= STALE_IF_ERROR:
                raise
            return self.memory.kept(image, stale, data, None)
        content.had_stale = True
        return content

    async def _part(self, image: AuthorizedImage, byte_range: str, conditions: Mapping[str, str]) -> Content:
        """Return one range of the object, on a separate transfer, or only the metadata if there is no such range."""
        body = ObjectBody(self._access, image)
        try:
            head = await body.open({**conditions, "Range": byte_range})
        except RangeNotSatisfiable:
            # A 416 of COS may lack the size, and does not say whether If-Range lets the range apply.
            return await self.head(image)
        if head.status == 206:
            self.memory.answered(body.object_id, head.status, head.metadata, body.requested_at)
        return Content(body.image, head.metadata, head.status, body=body, covered=head.content_range)

    async def _head(self, image: AuthorizedImage) -> Content:
        body = ObjectBody(self._access, image)
        head = await body.open(_NO_CONDITIONS, hdrs.METH_HEAD)
        body.close()
        entry = self.memory.update(body.object_id, head.metadata, body.requested_at)
        return Content(body.image, entry.metadata, 200, entry.body, age=None if entry.body is None else 0.0)

    async def _revalidate_unattended(self, image: AuthorizedImage, stale: Entry) -> None:
        if image.rendition is not None:
            await self._variants.fetch(image, stale)
            return
        if stale.body is None:  # memory has dropped it meanwhile
            return
        content = await self._revalidated(image, stale, stale.body)
        try:
            if content.body is not None and content.is_stored:
                await content.body.read_whole()
        finally:
            if content.body is not None:
                content.body.close()

    async def close(self) -> None:
        """Stop the work that no request waits for."""
        await self._revalidations.close()
        await self._heads.close()
        await self._variants.close()


class VariantSource:
    """Fetches renditions: read whole before the first byte is sent, with an entity tag of the gateway's own.

    It is unknown which checksum, entity tag and length COS sends with a processed image, what its HEAD describes, and
    whether it obeys conditions and ranges there (COS documents 44880 and 1246/109211 do not say). So nothing of that is
    used: a rendition is small and is read to its end, its tag is a hash of its bytes, and conditions and ranges are
    evaluated here. Only If-None-Match with COS's own tag is sent, which can save the processing, and is billed as such.

    A single request to COS serves all callers that wait for the same rendition.
    """

    def __init__(self, access: OriginAccess, renditions: Renditions, refused: RefusedVariants) -> None:
        self._access = access
        self._memory = access.memory
        self._renditions = renditions
        self._refused = refused
        self._start_at_zero()
        renditions.watch(lambda _: self._start_at_zero())
        self._reserved = 0
        self._large: dict[ObjectId, float] = {}  # when each was found to be so (monotonic seconds)
        self._fetches: SingleFlight[tuple[ObjectId, float], Content | None] = SingleFlight(
            "variant", access.metrics.coalesced_requests, cancel_without_callers=True
        )

    @property
    def _largest(self) -> int:
        """The most bytes of a rendition that is read before it is sent."""
        return max(self._memory.settings.value.max_object_bytes, _LARGEST)

    def _start_at_zero(self) -> None:
        """Export the count of each rendition, so that ``rate()`` sees its first increase."""
        for rendition in map(self._renditions.get, self._renditions.names):
            self._made(rendition)

    def _made(self, rendition: Rendition) -> Counter:
        counts = self._access.metrics.variants
        return counts.labels(style=rendition.style, format=rendition.format or "fixed", result="made")

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
        except _FAILURES:
            if stale is None or kept is None or self._memory.age(stale) > STALE_IF_ERROR:
                raise
            return self._memory.kept(image, stale, kept, None)
        finally:
            self._reserved -= reserved

    async def _read(self, image: AuthorizedImage, stale: Entry | None, kept: bytes | None) -> Content | None:
        body = ObjectBody(self._access, image)
        tag = stale.origin_etag if stale is not None and kept is not None else None
        head = await body.open({"If-None-Match": tag} if tag is not None else {})
        try:
            if head.status == 304 and stale is not None:
                stale.requested_at = max(stale.requested_at, body.requested_at)
                return self._memory.kept(body.image, stale, kept, 304)
            is_large = body.state.length is not None and body.state.length > self._largest
            data = None if is_large else await read_at_most(body.read, self._largest)
        except BodyLost as error:
            raise OriginUnavailable(str(error)) from error
        finally:
            body.close()
        if data is None:
            self._large[image.object_id] = body.requested_at
            if len(self._large) > _MOST_LARGE:
                del self._large[next(iter(self._large))]
            return None
        self._refused.made(image)
        if body.object_id.rendition is not None:
            self._made(self._renditions.get(body.object_id.rendition)).inc()
        tag = f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'
        metadata = head.metadata._replace(size=len(data), etag=tag)
        entry = self._memory.update(body.object_id, metadata, body.requested_at, data)
        entry.origin_etag = head.origin_etag
        # Memory may be off, or have a newer version: this request still gets the bytes it waited for.
        if entry.body is not None:
            metadata, data = entry.metadata, entry.body
        return Content(body.image, metadata, 200, data, had_stale=stale is not None, is_stored=True)
