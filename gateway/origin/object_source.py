"""Objects by image: from memory, from a transfer under way, or from COS."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, Unavailable
from gateway.metrics.collectors import Metrics
from gateway.origin.client import MOST_UNATTENDED, OriginClient
from gateway.origin.failed_objects import FailedObjects
from gateway.origin.memory_cache import Entry, ObjectCache
from gateway.origin.object_body import ObjectBody
from gateway.origin.object_metadata import ObjectMetadata
from gateway.origin.origin_response import OriginResponse
from gateway.origin.retry import Backoff
from gateway.origin.shared_transfers import SharedTransfers
from gateway.origin.signed_fetch import Renew, SignedFetch, SignForHead
from gateway.origin.transfer import Reader
from gateway.presign.presigned_url import ObjectId, SignedImage
from gateway.settings import ImageProxySettings

# For how long bytes in memory may stand in for a COS that fails; what `stale-if-error` allows downstream (RFC 5861).
STALE_IF_ERROR = 86_400

Renewed = SignedImage | None  # the image on a new URL, if the one at hand was refused: its row may have changed


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes from memory that had to be asked about: ``status`` is COS's 304, or None if it failed and they are old."""

    entry: Entry
    body: bytes
    status: int | None


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
        self._cache = cache
        self._ttl = settings.memory_cache.ttl
        self._resumes = settings.retry_count
        self._renew = renew
        self._sign_for_head = sign_for_head
        self._metrics = metrics
        self._backoff = backoff or Backoff()
        self._failures = FailedObjects(cache.changed_at, cache.now)
        self._flights = SharedTransfers(self._body_of, cache, metrics, most_promised=settings.memory_cache.max_bytes)
        self._looks: SingleFlight[tuple[ObjectId, float], tuple[Renewed, Entry]] = SingleFlight(
            "look", metrics.coalesced_requests, is_for_callers=True
        )
        self._revalidations: SingleFlight[ObjectId, None] = SingleFlight("revalidation", metrics.coalesced_requests)

    def known(self, image: SignedImage) -> Entry | None:
        """What is known of the object and may be used as it is, without asking COS.

        Bytes up to twice ``memory_cache.ttl`` old are used while COS is asked about them (stale-while-revalidate).
        """
        entry = self._cache.get(image)
        if entry is None:
            return None
        age = self._cache.age(entry)
        if age < self._ttl:
            return entry
        if entry.body is None or age >= 2 * self._ttl:
            return None
        if len(self._revalidations) < MOST_UNATTENDED:  # else the next request may begin it
            self._revalidations.start(image.object_id, lambda: self._revalidate(image))
        return entry

    def freshness(self, entry: Entry) -> float:
        """Seconds for which it may be used without asking COS again; negative once it is old."""
        return self._ttl - self._cache.age(entry)

    def age(self, entry: Entry) -> float:
        """Seconds since COS was last asked about it."""
        return self._cache.age(entry)

    def keeps(self, metadata: ObjectMetadata) -> bool:
        """Whether such an object is fetched whole, so that every range of it can be served from memory."""
        return metadata.strong_etag is not None and self._cache.takes(metadata.size)

    def holds(self, image: SignedImage) -> bool:
        """Whether there are bytes of it in memory, however old: they can be revalidated, and stand in for COS."""
        entry = self._cache.get(image)
        return entry is not None and entry.body is not None

    @property
    def promised_bytes(self) -> int:
        """How much memory the transfers under way may still come to hold."""
        return self._flights.promised

    async def look(self, image: SignedImage) -> tuple[Renewed, Entry]:
        """The facts as COS tells them in answer to a HEAD."""
        # What was asked before the image changed is of no use to it.
        key = image.object_id, self._cache.changed_at(image.record.image_id)
        return await self._looks.run(key, lambda: self._look(self._door(image)))

    def whole(self, image: SignedImage, conditions: Mapping[str, str]) -> Awaitable[tuple[Renewed, Reader | Kept]]:
        """The whole object: a reader that the caller closes, or bytes from memory that COS was asked about.

        ``conditions`` may make COS answer 304 instead. Stale bytes in memory are revalidated by their ETag, and
        stand in when COS fails.
        """
        stale = self._cache.get(image)
        if stale is None or stale.body is None:
            return self._flights.join(self._door(image), conditions)
        return self._revalidated(image, stale, stale.body)

    def fetch(self, image: SignedImage) -> Awaitable[tuple[Renewed, Reader]]:
        """As ``whole``, for an object of which there are no bytes in memory."""
        return self._flights.join(self._door(image), {})

    async def _revalidated(self, image: SignedImage, stale: Entry, body: bytes) -> tuple[Renewed, Reader | Kept]:
        try:
            renewed, reader = await self._flights.join(self._door(image), {"If-None-Match": stale.metadata.etag or ""})
            told = reader.transfer.body
            if told.status == 304:
                reader.close()
                if told.metadata.confirm(stale.metadata):
                    return renewed, Kept(stale, body, 304)
                renewed, reader = await self._flights.join(self._door(image), {})
        except (OriginUnavailable, OriginTimeout, Unavailable):
            if self._cache.age(stale) >= STALE_IF_ERROR:
                raise
            return None, Kept(stale, body, None)
        reader.had_stale = True
        return renewed, reader

    async def part(
        self, image: SignedImage, byte_range: str, conditions: Mapping[str, str]
    ) -> tuple[Renewed, ObjectBody]:
        """One range of the object, on a transfer of its own that the caller closes."""
        door, asked_at = self._door(image), self._cache.now()
        body = self._body_of(door, await door.open({**conditions, "Range": byte_range}))
        if body.status == 206:
            self._cache.answered(door.object_id, body.status, body.metadata, asked_at)
        return door.renewed, body

    def drop(self, image_id: str) -> None:
        """The image has changed: nothing that COS was asked for before counts for it."""
        self._cache.drop(image_id)

    async def close(self) -> None:
        """Stop the work that nobody waits for."""
        await self._revalidations.close()
        await self._looks.close()

    def _door(self, image: SignedImage) -> SignedFetch:
        return SignedFetch(self._client, image, self._renew, self._sign_for_head, self._cache.forget, self._failures)

    def _body_of(self, door: SignedFetch, response: OriginResponse) -> ObjectBody:
        return ObjectBody(door, response, self._resumes, self._backoff, self._metrics)

    async def _look(self, door: SignedFetch) -> tuple[Renewed, Entry]:
        asked_at = self._cache.now()
        response = await door.open({}, "HEAD")
        response.close()
        return door.renewed, self._cache.learn(door.object_id, response.metadata, asked_at)

    async def _revalidate(self, image: SignedImage) -> None:
        _, found = await self.whole(image, {})
        if isinstance(found, Reader):
            try:
                if found.transfer.keeps_all:
                    await found.transfer.finished()
            finally:
                found.close()
