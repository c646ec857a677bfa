"""Objects by image: from memory, from a transfer under way, or from COS."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, Unavailable
from gateway.metrics.collectors import Metrics
from gateway.origin.client import OriginClient
from gateway.origin.failed_objects import FailedObjects
from gateway.origin.memory_cache import Entry, ObjectCache
from gateway.origin.object_body import ObjectBody
from gateway.origin.object_metadata import ObjectMetadata
from gateway.origin.origin_response import OriginResponse
from gateway.origin.retry import Backoff
from gateway.origin.session import MOST_UNATTENDED
from gateway.origin.shared_transfers import SharedTransfers
from gateway.origin.signed_fetch import Renew, SignedFetch, SignForHead
from gateway.origin.transfer import Reader
from gateway.presign.signed_image import ObjectId, SignedImage
from gateway.settings import ImageProxySettings

# For how long bytes in memory may stand in for a COS that fails; what `stale-if-error` allows downstream (RFC 5861).
STALE_IF_ERROR = 86_400

Renewed = SignedImage | None  # the image on a new URL, if the one at hand was refused: its row may have changed


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes from memory about which COS was asked; ``status`` is its 304, or None if it failed and they are stale."""

    entry: Entry
    body: bytes
    status: int | None


class Fetched(NamedTuple):
    """A whole object: an open reader, which the caller closes, or bytes from memory.

    ``renewed`` is the image on a new URL if COS refused the first one; its row may have changed.
    """

    renewed: SignedImage | None
    reader: Reader | None
    stored: Stored | None = None


class ObjectSource:
    """One origin transfer for all who want the same object at once, and none at all while its bytes are fresh."""

    def __init__(
        self,
        client: OriginClient,
        cache: ObjectCache,
        settings: ImageProxySettings,
        *,
        renew: Renew,
        sign_for_head: SignForHead,
        metrics: Metrics,
        backoff: Backoff | None = None,
    ) -> None:
        self._client = client
        self.memory = cache
        self._ttl = settings.memory_cache.ttl
        self._resumes = settings.retry_count
        self._renew = renew
        self._sign_for_head = sign_for_head
        self._metrics = metrics
        self._backoff = backoff or Backoff()
        self._failures = FailedObjects(cache.changed_at, cache.now)
        self._flights = SharedTransfers(self._body_of, cache, metrics, most_promised=settings.memory_cache.max_bytes)
        self._looks: SingleFlight[tuple[ObjectId, float], tuple[Renewed, Entry]] = SingleFlight(
            "look", metrics.coalesced_requests, cancel_without_callers=True
        )
        self._revalidations: SingleFlight[ObjectId, None] = SingleFlight("revalidation", metrics.coalesced_requests)

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
            self._revalidations.start(image.object_id, lambda: self._revalidate(image))
        return entry

    def keeps(self, metadata: ObjectMetadata) -> bool:
        """Whether such an object is fetched whole, so that every range of it can be served from memory."""
        return metadata.strong_etag is not None and self.memory.takes(metadata.size)

    def holds(self, image: SignedImage) -> bool:
        """Whether there are bytes of it in memory, however old: they can be revalidated, and stand in for COS."""
        entry = self.memory.get(image)
        return entry is not None and entry.body is not None

    @property
    def promised_bytes(self) -> int:
        """How much memory the transfers under way may still come to hold."""
        return self._flights.promised

    async def look(self, image: SignedImage) -> tuple[Renewed, Entry]:
        """The facts as COS tells them in answer to a HEAD."""
        # What was asked before the image changed is of no use to it.
        key = image.object_id, self.memory.changed_at(image.record.image_id)
        return await self._looks.run(key, lambda: self._look(self._door(image)))

    async def whole(self, image: SignedImage, conditions: Mapping[str, str]) -> Fetched:
        """Fetch the whole object.

        ``conditions`` may make COS answer 304 instead. Stale bytes in memory are revalidated by their ETag, and are
        used when COS fails.
        """
        stale = self.memory.get(image)
        if stale is None or stale.body is None:
            return Fetched(*await self._flights.join(self._door(image), conditions))
        return await self._revalidated(image, stale, stale.body)

    async def _revalidated(self, image: SignedImage, stale: Entry, body: bytes) -> Fetched:
        try:
            renewed, reader = await self._flights.join(self._door(image), {"If-None-Match": stale.metadata.etag or ""})
            opened = reader.transfer.body
            if opened.status == 304:
                reader.close()
                if opened.metadata.confirm(stale.metadata):
                    return Fetched(renewed, None, Stored(stale, body, 304))
                renewed, reader = await self._flights.join(self._door(image), {})
        except (OriginUnavailable, OriginTimeout, Unavailable):
            if self.memory.age(stale) >= STALE_IF_ERROR:
                raise
            return Fetched(None, None, Stored(stale, body, None))
        reader.had_stale = True
        return Fetched(renewed, reader)

    async def part(
        self, image: SignedImage, byte_range: str, conditions: Mapping[str, str]
    ) -> tuple[Renewed, ObjectBody]:
        """One range of the object, on a transfer of its own that the caller closes."""
        door, asked_at = self._door(image), self.memory.now()
        body = self._body_of(door, await door.open({**conditions, "Range": byte_range}))
        if body.status == 206:
            self.memory.answered(door.object_id, body.status, body.metadata, asked_at)
        return door.renewed, body

    def drop(self, image_id: str) -> None:
        """The image has changed: nothing that COS was asked for before counts for it."""
        self.memory.drop(image_id)

    async def close(self) -> None:
        """Stop the work that nobody waits for."""
        await self._revalidations.close()
        await self._looks.close()

    def _door(self, image: SignedImage) -> SignedFetch:
        return SignedFetch(self._client, image, self._renew, self._sign_for_head, self.memory.forget, self._failures)

    def _body_of(self, door: SignedFetch, response: OriginResponse) -> ObjectBody:
        return ObjectBody(door, response, self._resumes, self._backoff, self._metrics)

    async def _look(self, door: SignedFetch) -> tuple[Renewed, Entry]:
        asked_at = self.memory.now()
        response = await door.open({}, "HEAD")
        response.close()
        return door.renewed, self.memory.learn(door.object_id, response.metadata, asked_at)

    async def _revalidate(self, image: SignedImage) -> None:
        reader = (await self.whole(image, {})).reader
        if reader is None:
            return
        try:
            if reader.transfer.keeps_all:
                await reader.transfer.finished()
        finally:
            reader.close()
