"""The objects of images: from memory, from a transfer that another request started, or from COS."""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, RangeNotSatisfiable, Unavailable
from gateway.origin.content import Content
from gateway.origin.memory_cache import STALE_IF_ERROR, Entry, ObjectCache
from gateway.origin.metrics import OriginMetrics
from gateway.origin.object_body import ObjectBody, OriginAccess
from gateway.origin.origin_response import ObjectMetadata
from gateway.origin.session import MOST_UNATTENDED
from gateway.origin.shared_transfer import BufferLimits, Reader, SharedTransfers
from gateway.origin.variant_source import VariantSource
from gateway.presign.signed_image import AuthorizedImage, ObjectId
from gateway.settings import Live, MemoryCacheSettings

_NO_CONDITIONS: Final[Mapping[str, str]] = {}


class ObjectSource:
    """Asks COS for as little as possible: for nothing while memory is fresh, and once for simultaneous requests."""

    def __init__(
        self,
        access: OriginAccess,
        memory: ObjectCache,
        variants: VariantSource,
        settings: Live[MemoryCacheSettings],
        metrics: OriginMetrics,
        limits: BufferLimits | None = None,
    ) -> None:
        self.memory = memory
        self.variants = variants
        self.transfers = SharedTransfers(access, memory, settings, metrics, limits)
        self._access = access
        self._heads: SingleFlight[tuple[ObjectId, float], Content] = SingleFlight(
            "head", metrics.coalesced_requests, cancel_without_callers=True
        )
        self._revalidations: SingleFlight[ObjectId, None] = SingleFlight("revalidation", metrics.coalesced_requests)

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
        return _content_of(image, await self.transfers.join(image, conditions))

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

    async def whole(self, image: AuthorizedImage) -> Content:
        """Return the whole object. Raises the errors of ``ObjectBody.open``."""
        return _content_of(image, await self.transfers.join(image, _NO_CONDITIONS))

    async def _rendition(self, image: AuthorizedImage, stale: Entry | None) -> Content:
        content = await self.variants.fetch(image, stale)
        return content if content is not None else await self.whole(image)

    async def _revalidated(self, image: AuthorizedImage, stale: Entry, data: bytes) -> Content:
        """Ask COS whether the object is still the version of ``stale``, whose bytes are ``data``.

        Raises the errors of ``ObjectBody.open``. If COS failed, they are raised only once the bytes are a day old.
        """
        try:
            reader = await self.transfers.join(image, {"If-None-Match": stale.metadata.etag or ""})
            body = reader.transfer.body
            if body.status == 304:
                reader.close()
                if body.metadata.confirm(stale.metadata):
                    return self._kept(image, stale, data, 304)
                reader = await self.transfers.join(image, _NO_CONDITIONS)
        except (OriginUnavailable, OriginTimeout, Unavailable):
            if self.memory.age(stale) >= STALE_IF_ERROR:
                raise
            return self._kept(image, stale, data, None)
        return _content_of(image, reader, had_stale=True)

    def _kept(self, image: AuthorizedImage, stale: Entry, data: bytes, status: int | None) -> Content:
        return Content(image, stale.metadata, status, data, age=self.memory.age(stale), had_stale=True)

    async def _part(self, image: AuthorizedImage, byte_range: str, conditions: Mapping[str, str]) -> Content:
        """Return one range of the object, on a separate transfer, or only the metadata if there is no such range."""
        requested_at = self.memory.now()
        try:
            body = await self._unshared(image, {**conditions, "Range": byte_range})
        except RangeNotSatisfiable:
            # A 416 of COS may lack the size, and does not say whether If-Range lets the range apply.
            return await self.head(image)
        if body.status == 206:
            self.memory.answered(body.object_id, body.status, body.metadata, requested_at)
        return Content(body.image, body.metadata, body.status, body=body, covered=body.content_range)

    async def _unshared(
        self, image: AuthorizedImage, headers: Mapping[str, str], method: str = hdrs.METH_GET
    ) -> ObjectBody:
        """Return an open body for this call alone, which the caller closes."""
        body = ObjectBody(self._access, image)
        await body.open(headers, method)
        return body

    async def close(self) -> None:
        """Stop the work that no request waits for."""
        await self._revalidations.close()
        await self._heads.close()
        await self.variants.close()

    async def _head(self, image: AuthorizedImage) -> Content:
        requested_at = self.memory.now()
        body = await self._unshared(image, _NO_CONDITIONS, hdrs.METH_HEAD)
        body.close()
        entry = self.memory.update(body.object_id, body.metadata, requested_at)
        return Content(body.image, entry.metadata, 200, entry.body, age=None if entry.body is None else 0.0)

    async def _revalidate_unattended(self, image: AuthorizedImage, stale: Entry) -> None:
        if image.rendition is not None:
            await self.variants.fetch(image, stale)
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


def _content_of(image: AuthorizedImage, reader: Reader, *, had_stale: bool = False) -> Content:
    body, is_stored = reader.transfer.body, reader.transfer.keeps_all
    return Content(
        image,
        body.metadata,
        body.status,
        body=reader,
        had_stale=had_stale,
        is_stored=is_stored,
        is_collapsed=reader.is_collapsed,
    )
