"""Transfers under way: whoever wants the same object at the same time joins the one there is."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.metrics.collectors import Metrics
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.object_body import ObjectBody
from gateway.origin.origin_response import OriginResponse
from gateway.origin.signed_fetch import SignedFetch
from gateway.origin.transfer import BufferLimits, Reader, Transfer
from gateway.presign.signed_image import ObjectId, SignedImage

_Key = tuple[ObjectId, tuple[tuple[str, str], ...]]
BodyOf = Callable[[SignedFetch, OriginResponse], ObjectBody]


class SharedTransfers:
    """One transfer for each object and condition.

    Bodies that ``cache`` takes are kept whole while they come and given to it at their end; together they hold at most
    ``most_promised`` bytes.
    """

    def __init__(
        self,
        body_of: BodyOf,
        cache: ObjectCache,
        metrics: Metrics,
        *,
        most_promised: int,
        reach: BufferLimits | None = None,
    ) -> None:
        self.reach = reach or BufferLimits()
        self.body_of = body_of
        self.cache = cache
        self._metrics = metrics
        self._most_promised = most_promised
        self.promised = 0  # bytes that transfers under way may still come to hold
        self._flights: dict[_Key, _SharedTransfer] = {}

    def join(self, door: SignedFetch, conditions: Mapping[str, str]) -> Awaitable[tuple[SignedImage | None, Reader]]:
        """The image on the new URL by which the body was opened, if the one at hand was refused, and a reader of it.

        Raises what ``SignedFetch.open`` raises.
        """
        key = (door.object_id, tuple(conditions.items()) if conditions else ())
        flight = self._flights.get(key)
        if flight is not None and flight.is_joinable and flight.serves(door.image):
            return self._join(flight, door)
        flight = self._flights[key] = _SharedTransfer(self, key, door, conditions)
        return self._board(flight, is_collapsed=False)

    async def _join(self, flight: "_SharedTransfer", door: SignedFetch) -> tuple[SignedImage | None, Reader]:
        """A reader of a flight that was begun for another, or of one of its own if that one is for one alone."""
        self._metrics.coalesced_requests.inc()
        renewed, reader = await self._board(flight, is_collapsed=True)
        if flight.is_shareable:
            return renewed, reader
        reader.close()
        return await self._board(_SharedTransfer(self, flight.key, door, flight.conditions), is_collapsed=False)

    async def _board(self, flight: "_SharedTransfer", *, is_collapsed: bool) -> tuple[SignedImage | None, Reader]:
        reader = flight.join(is_collapsed)
        try:
            await (flight.opened() if is_collapsed else flight.take_off())
        except BaseException:
            reader.close()
            raise
        return flight.door.renewed, reader

    def promise(self, body: ObjectBody) -> int | None:
        """How many bytes of memory the body gets to be kept whole; None if it is not to be kept."""
        size = body.length
        if body.status != 200 or size is None or not self.cache.takes(size) or body.metadata.strong_etag is None:
            return None
        if self.promised + size > self._most_promised:
            return None
        self.promised += size
        return size

    def landed(self, flight: "_SharedTransfer", promised: int) -> None:
        """The flight is over, and what was promised to it is free."""
        self.promised -= promised
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


class _SharedTransfer(Transfer):
    """A transfer that others may join; ``asked_at`` is when it was begun (monotonic seconds)."""

    __slots__ = ("_flights", "_promised", "asked_at", "conditions", "door", "key")

    def __init__(self, flights: SharedTransfers, key: _Key, door: SignedFetch, conditions: Mapping[str, str]) -> None:
        super().__init__(flights.reach)
        self._flights = flights
        self._promised: int | None = None
        self.key = key
        self.door = door
        self.conditions = conditions
        self.asked_at = flights.cache.now()

    def serves(self, image: SignedImage) -> bool:
        """Whether the image has not changed since it was begun."""
        return self.asked_at > self._flights.cache.changed_at(image.record.image_id)

    def take_off(self) -> Awaitable[None]:
        """As ``opened``, for the first aboard."""
        return self._advance(self.open)

    async def open(self) -> None:
        """Through the door, and remember what COS says of the object; memory may be promised to its body."""
        flights, door = self._flights, self.door
        body = flights.body_of(door, await door.open(self.conditions))
        flights.cache.answered(door.object_id, body.status, body.metadata, self.asked_at)
        self._promised = promised = flights.promise(body)
        self.begins(body, promised is not None)

    def ended(self) -> None:
        """Give the whole body to the cache, if that is what it was kept for."""
        self._flights.landed(self, self._promised or 0)
        if self.is_over and self.keeps_all:
            self._flights.cache.learn(self.door.object_id, self.body.metadata, self.asked_at, self.whole)
