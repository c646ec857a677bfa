"""The objects of images: from memory, from a transfer that another request started, or from COS."""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, RangeNotSatisfiable, Unavailable
from gateway.origin.client import MOST_UNATTENDED
from gateway.origin.content import Content
from gateway.origin.memory_cache import STALE_IF_ERROR, Entry, ObjectCache
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import ObjectMetadata
from gateway.origin.transfer import ObjectBody, OriginAccess, SharedTransfers
from gateway.origin.transfer_state import BufferLimits
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
        content = await self.variants.fetch(image, stale)
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
                    return self._kept(image, stale, data, 304)
                content = await self.whole(image)
        except (OriginUnavailable, OriginTimeout, Unavailable):
            if self.memory.age(stale) >= STALE_IF_ERROR:
                raise
            return self._kept(image, stale, data, None)
        content.had_stale = True
        return content

    def _kept(self, image: AuthorizedImage, stale: Entry, data: bytes, status: int | None) -> Content:
        return Content(image, stale.metadata, status, data, age=self.memory.age(stale), had_stale=True)

    async def _part(self, image: AuthorizedImage, byte_range: str, conditions: Mapping[str, str]) -> Content:
        """Return one range of the object, on a separate transfer, or only the metadata if there is no such range."""
        requested_at, body = self.memory.now(), ObjectBody(self._access, image, self.memory.known(image))
        try:
            head = await body.open({**conditions, "Range": byte_range})
        except RangeNotSatisfiable:
            # A 416 of COS may lack the size, and does not say whether If-Range lets the range apply.
            return await self.head(image)
        if head.status == 206:
            self.memory.answered(body.object_id, head.status, head.metadata, requested_at)
        return Content(body.image, head.metadata, head.status, body=body, covered=head.content_range)

    async def close(self) -> None:
        """Stop the work that no request waits for."""
        await self._revalidations.close()
        await self._heads.close()
        await self.variants.close()

    async def _head(self, image: AuthorizedImage) -> Content:
        requested_at, body = self.memory.now(), ObjectBody(self._access, image, self.memory.known(image))
        head = await body.open(_NO_CONDITIONS, hdrs.METH_HEAD)
        body.close()
        entry = self.memory.update(body.object_id, head.metadata, requested_at)
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
