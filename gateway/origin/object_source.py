"""The objects of images: from memory, from a transfer that another request started, or from COS."""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, Unavailable
from gateway.metrics.collectors import Metrics
from gateway.origin.memory_cache import STALE_IF_ERROR, Entry, ObjectCache
from gateway.origin.object_body import ObjectBody
from gateway.origin.origin_access import OriginAccess
from gateway.origin.origin_response import ObjectMetadata
from gateway.origin.resumption import ResumptionLimits
from gateway.origin.session import MOST_UNATTENDED
from gateway.origin.shared_transfer import BufferLimits, Reader, SharedTransfer, TransferKey
from gateway.origin.variant_source import VariantSource
from gateway.presign.signed_image import ObjectId, SignedImage
from gateway.settings import MemoryCacheSettings


class Head(NamedTuple):
    """Metadata that COS sent in answer to a HEAD; ``renewed`` is the image on a new URL if COS refused the first."""

    entry: Entry
    renewed: SignedImage | None


class Revalidation(NamedTuple):
    """COS's answer about bytes in memory: a reader of their new version, or None where they may be used.

    ``status`` is COS's 304, or None if COS failed and the bytes are stale. ``renewed``: as in ``Reader``.
    """

    reader: Reader | None
    status: int | None
    renewed: SignedImage | None


class ObjectSource:
    """Keeps one origin transfer for all requests of an object, and none while its bytes in memory are fresh.

    Bodies that ``memory`` accepts are kept whole while they arrive and stored there at their end. Together they hold
    at most ``memory_cache.max_bytes``: ``reserved_bytes`` are the bytes that running transfers may still add.
    """

    def __init__(
        self,
        access: OriginAccess,
        memory: ObjectCache,
        variants: VariantSource,
        settings: MemoryCacheSettings,
        metrics: Metrics,
        limits: BufferLimits | None = None,
    ) -> None:
        self.memory = memory
        self.variants = variants
        self.reserved_bytes = 0
        self._beginnings = 0  # bytes that transfers may keep for readers that join late
        self._access = access
        self._ttl = settings.ttl
        self._most_reserved = settings.max_bytes
        self._coalesced = metrics.coalesced_requests
        self._limits = limits or BufferLimits()
        self._transfers: dict[TransferKey, SharedTransfer] = {}
        self._heads: SingleFlight[tuple[ObjectId, float], Head] = SingleFlight(
            "head", metrics.coalesced_requests, cancel_without_callers=True
        )
        self._revalidations: SingleFlight[ObjectId, None] = SingleFlight("revalidation", metrics.coalesced_requests)

    def configure(self, settings: MemoryCacheSettings, resumption: ResumptionLimits) -> None:
        """Use these limits from now on; running transfers keep theirs."""
        self.memory.configure(settings)
        self.variants.configure(largest=settings.max_object_bytes)
        self._access.resumption = resumption
        self._ttl = settings.ttl
        self._most_reserved = settings.max_bytes

    def usable(self, image: SignedImage) -> Entry | None:
        """Return the entry of its object that may be used now; None: COS has to be asked.

        Bytes up to twice ``memory_cache.ttl`` old are used while COS is asked about them (stale-while-revalidate).
        """
        entry = self.memory.get(image)
        if entry is None:
            return None
        age = self.memory.age(entry)
        if age < self._ttl:
            return entry
        if entry.body is None or age >= 2 * self._ttl:
            return None
        if len(self._revalidations) < MOST_UNATTENDED:  # else the next request may start it
            self._revalidations.start(image.object_id, lambda: self._revalidate_unattended(image, entry))
        return entry

    def keeps(self, metadata: ObjectMetadata) -> bool:
        """Return whether such an object is fetched whole, so that every range of it can be served from memory."""
        return metadata.strong_etag is not None and self.memory.accepts(metadata.size)

    async def head(self, image: SignedImage) -> Head:
        """Return the metadata that COS sends in answer to a HEAD; raises what ``ObjectBody.open`` raises."""
        # Requests after a change of the image do not share the answer to one before.
        key = image.object_id, self.memory.changed_at(image.record.image_id)
        return await self._heads.run(key, lambda: self._head(image))

    async def whole(self, image: SignedImage, conditions: Mapping[str, str]) -> Reader:
        """Return a reader of the whole object, which the caller closes: of the running transfer, or of a new one.

        ``conditions`` may make COS answer 304 instead. Raises the errors of ``ObjectBody.open``.
        """
        key = (image.object_id, tuple(conditions.items()) if conditions else ())
        memory = self.memory
        transfer = self._transfers.get(key)
        is_joinable = (
            transfer is not None
            and transfer.is_joinable
            and transfer.requested_at > memory.changed_at(image.record.image_id)
        )
        if transfer is not None and is_joinable:
            self._coalesced.inc()
            reader = await transfer.join(is_collapsed=True)
            if transfer.is_shareable:
                return reader
            reader.close()
        body = ObjectBody(self._access, image)
        transfer = SharedTransfer(self, key, body, conditions, self._limits, memory.now())
        if not is_joinable:  # else it is only for this request
            self._transfers[key] = transfer
        return await transfer.join(is_collapsed=False)

    async def revalidate(self, image: SignedImage, stale: Entry) -> Revalidation:
        """Ask COS whether the object is still the version of ``stale``, an entry with bytes.

        Raises the errors of ``ObjectBody.open``; if COS failed, only once the bytes are a day old.
        """
        try:
            reader = await self.whole(image, {"If-None-Match": stale.metadata.etag or ""})
            body = reader.transfer.body
            if body.status == 304:
                reader.close()
                if body.metadata.confirm(stale.metadata):
                    return Revalidation(None, 304, body.renewed)
                reader = await self.whole(image, {})
        except (OriginUnavailable, OriginTimeout, Unavailable):
            if self.memory.age(stale) >= STALE_IF_ERROR:
                raise
            return Revalidation(None, None, None)
        reader.had_stale = True
        return Revalidation(reader, None, reader.renewed)

    async def part(self, image: SignedImage, byte_range: str, conditions: Mapping[str, str]) -> ObjectBody:
        """Return one range of the object, on a separate transfer that the caller closes."""
        requested_at = self.memory.now()
        body = ObjectBody(self._access, image)
        await body.open({**conditions, "Range": byte_range})
        if body.status == 206:
            self.memory.answered(body.object_id, body.status, body.metadata, requested_at)
        return body

    def opened(self, transfer: SharedTransfer) -> bool:
        """Remember COS's metadata; return whether to keep the whole body, with memory reserved for it."""
        body, memory = transfer.body, self.memory
        memory.answered(body.object_id, body.status, body.metadata, transfer.requested_at)
        size = body.length
        if (
            body.status != 200
            or size is None
            or not memory.accepts(size)
            or body.metadata.strong_etag is None
            or self.reserved_bytes + size > self._most_reserved
        ):
            return False
        transfer.reserved = size
        self.reserved_bytes += size
        return True

    def reserve_beginning(self) -> int:
        """Return the bytes of its beginning that a transfer may keep: none while many other transfers keep theirs."""
        most = self._limits.alone
        if self._beginnings + most > self._limits.beginnings:
            return 0
        self._beginnings += most
        return most

    def release_beginning(self, most: int) -> None:
        """Return the bytes from ``reserve_beginning`` to the budget."""
        self._beginnings -= most

    def finished(self, transfer: SharedTransfer) -> None:
        """Release the bytes reserved for the transfer, and store its body if it was kept whole."""
        self.reserved_bytes -= transfer.reserved
        if self._transfers.get(transfer.key) is transfer:
            del self._transfers[transfer.key]
        if transfer.is_over and transfer.keeps_all:
            body = transfer.body
            self.memory.update(body.object_id, body.metadata, transfer.requested_at, transfer.whole)

    def invalidate(self, image_id: str | None) -> None:
        """Use no answer to a request before now for the image: it has changed.

        None (every row may have changed) drops nothing: the bytes of an object do not depend on rows, and expire by
        their own age.
        """
        if image_id is not None:
            self.memory.invalidate(image_id)

    async def close(self) -> None:
        """Stop the work that no request waits for."""
        await self._revalidations.close()
        await self._heads.close()
        await self.variants.close()

    async def _head(self, image: SignedImage) -> Head:
        requested_at = self.memory.now()
        body = ObjectBody(self._access, image)
        await body.open({}, "HEAD")
        body.close()
        return Head(self.memory.update(body.object_id, body.metadata, requested_at), body.renewed)

    async def _revalidate_unattended(self, image: SignedImage, stale: Entry) -> None:
        if image.rendition is not None:
            await self.variants.fetch(image, stale)
            return
        reader = (await self.revalidate(image, stale)).reader
        if reader is None:
            return
        try:
            if reader.transfer.keeps_all:
                await reader.transfer.read_whole()
        finally:
            reader.close()
