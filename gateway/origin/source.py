"""Objects by image: from memory, from a transfer under way, or from COS."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import ImageNotFound, OriginTimeout, OriginUnavailable, Unavailable
from gateway.metrics import Metrics
from gateway.origin.body import ObjectBody
from gateway.origin.client import OriginClient
from gateway.origin.door import Door, Renew, SignForHead
from gateway.origin.facts import ObjectFacts, ObjectId
from gateway.origin.flights import Flights
from gateway.origin.memory_cache import Entry, ObjectCache
from gateway.origin.retry import Backoff
from gateway.origin.transfer import Reader
from gateway.settings import ImageProxySettings
from gateway.single_flight import SingleFlight
from gateway.urls.presigned import SignedImage

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
        self.ttl = settings.memory_cache.ttl
        self._resumes = settings.retry_count
        self._renew = renew
        self._sign_for_head = sign_for_head
        self._metrics = metrics
        self._backoff = backoff or Backoff()
        self._flights = Flights(self._open, cache, metrics, most_promised=settings.memory_cache.max_bytes)
        self._looks: SingleFlight[ObjectId, tuple[Renewed, Entry]] = SingleFlight("look", metrics.coalesced_requests)
        self._revalidations: SingleFlight[ObjectId, None] = SingleFlight("revalidation", metrics.coalesced_requests)

    def known(self, image: SignedImage) -> Entry | None:
        """What is known of the object and may be used as it is, without asking COS.

        Bytes up to twice ``memory_cache.ttl`` old are used while COS is asked about them (stale-while-revalidate).
        """
        object_id = ObjectId.of(image)
        entry = self._cache.get(object_id)
        if entry is None:
            return None
        age = self._cache.age(entry)
        if age < self.ttl:
            return entry
        if entry.body is None or age >= 2 * self.ttl:
            return None
        self._revalidate_soon(object_id, image)
        return entry

    def age(self, entry: Entry) -> float:
        """Seconds since COS last vouched for it."""
        return self._cache.age(entry)

    def keeps(self, size: int | None) -> bool:
        """Whether an object of that size is fetched whole, so that every range of it can be served from memory."""
        return self._cache.takes(size)

    def holds(self, image: SignedImage) -> bool:
        """Whether there are bytes of it in memory, however old: they can be revalidated, and stand in for COS."""
        entry = self._cache.get(ObjectId.of(image))
        return entry is not None and entry.body is not None

    @property
    def promised_bytes(self) -> int:
        """How much memory the transfers under way may still come to hold."""
        return self._flights.promised

    async def look(self, image: SignedImage) -> tuple[Renewed, Entry]:
        """The facts as COS tells them in answer to a HEAD."""
        return await self._looks.run(ObjectId.of(image), lambda: self._look(self._door(image)))

    async def whole(self, image: SignedImage, conditions: Mapping[str, str]) -> tuple[Renewed, Reader | Kept]:
        """The whole object: a reader that the caller closes, or bytes from memory that COS was asked about.

        ``conditions`` may make COS answer 304 instead. Stale bytes in memory are revalidated by their ETag, and
        stand in when COS fails.
        """
        stale = self._cache.get(ObjectId.of(image))
        body = stale.body if stale is not None else None
        if stale is None or body is None:
            return await self._join(image, conditions)
        try:
            renewed, reader = await self._join(image, {"If-None-Match": stale.facts.etag or ""})
        except (OriginUnavailable, OriginTimeout, Unavailable):
            if self._cache.age(stale) >= STALE_IF_ERROR:
                raise
            return None, Kept(stale, body, None)
        if reader.transfer.body.status != 304:
            return renewed, reader
        reader.close()
        return renewed, Kept(stale, body, 304)

    async def part(
        self, image: SignedImage, byte_range: str, conditions: Mapping[str, str]
    ) -> tuple[Renewed, ObjectBody]:
        """One range of the object, on a transfer of its own that the caller closes."""
        door = self._door(image)
        body = await self._open(door, {**conditions, "Range": byte_range})
        if body.status == 206:
            self._cache.answered(door.object_id, image.record.image_id, body.status, body.facts)
        return door.renewed, body

    def drop(self, image_id: str) -> None:
        """The image has changed: forget its objects, and let transfers under way teach nothing."""
        self._cache.drop(image_id)
        self._flights.drop(image_id)

    async def close(self) -> None:
        """Stop the work that nobody waits for."""
        await self._revalidations.close()
        await self._looks.close()

    async def _join(self, image: SignedImage, conditions: Mapping[str, str]) -> tuple[Renewed, Reader]:
        door, reader = await self._flights.join(self._door(image), conditions)
        return door.renewed, reader

    def _door(self, image: SignedImage) -> Door:
        return Door(self._client, image, self._renew, self._sign_for_head)

    async def _open(self, door: Door, headers: Mapping[str, str]) -> ObjectBody:
        try:
            response = await door.open(headers)
        except ImageNotFound:
            self._cache.forget(door.object_id)
            raise
        return ObjectBody(door, response, resumes=self._resumes, backoff=self._backoff, metrics=self._metrics)

    async def _look(self, door: Door) -> tuple[Renewed, Entry]:
        response = await door.open({}, method="HEAD")
        response.close()
        facts = ObjectFacts.told_by(response.headers)
        return door.renewed, self._cache.learn(door.object_id, door.image.record.image_id, facts)

    def _revalidate_soon(self, object_id: ObjectId, image: SignedImage) -> None:
        self._revalidations.start(object_id, lambda: self._revalidate(image))

    async def _revalidate(self, image: SignedImage) -> None:
        _, found = await self.whole(image, {})
        if isinstance(found, Reader):
            try:
                if found.transfer.keeps_all:
                    await found.transfer.finished()
            finally:
                found.close()
