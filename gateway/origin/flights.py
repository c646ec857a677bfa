"""Transfers under way: whoever wants the same object at the same time joins the one there is."""

from collections.abc import Callable, Mapping

from gateway.metrics import Metrics
from gateway.origin.body import ObjectBody
from gateway.origin.door import Door
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.response import OriginResponse
from gateway.origin.transfer import Reader, Transfer
from gateway.urls.presigned import ObjectId, SignedImage

_Key = tuple[ObjectId, tuple[tuple[str, str], ...]]
BodyOf = Callable[[Door, OriginResponse], ObjectBody]


class Flights:
    """One transfer for each object and condition.

    Bodies that ``cache`` takes are kept whole while they come and given to it at their end; together they hold at most
    ``most_promised`` bytes.
    """

    def __init__(self, body_of: BodyOf, cache: ObjectCache, metrics: Metrics, *, most_promised: int) -> None:
        self.body_of = body_of
        self.cache = cache
        self._metrics = metrics
        self._most_promised = most_promised
        self.promised = 0  # bytes that transfers under way may still come to hold
        self._flights: dict[_Key, _Flight] = {}

    async def join(self, door: Door, conditions: Mapping[str, str]) -> tuple[SignedImage | None, Reader]:
        """The image on the new URL by which the body was opened, if the one at hand was refused, and a reader of it.

        Raises what ``Door.open`` raises.
        """
        key = (door.object_id, tuple(conditions.items()) if conditions else ())
        flight = self._flights.get(key)
        is_collapsed = flight is not None and flight.is_joinable
        if flight is None or not is_collapsed:
            flight = self._flights[key] = _Flight(self, key, door, conditions)
        else:
            self._metrics.coalesced_requests.inc()
        reader = flight.join(is_collapsed)
        try:
            await flight.opened()
        except BaseException:
            reader.close()
            raise
        return flight.door.renewed, reader

    def drop(self, image_id: str) -> None:
        """The image has changed: nobody joins what is under way, and it teaches nothing."""
        for key, flight in list(self._flights.items()):
            if flight.door.image.record.image_id == image_id:
                flight.is_current = False
                del self._flights[key]

    def promise(self, body: ObjectBody) -> int:
        """How many bytes of memory the body gets to be kept whole; 0 if it is too large, or too many are under way."""
        size = body.length
        if body.status != 200 or size is None or not self.cache.takes(size) or body.facts.strong_etag is None:
            return 0
        if self.promised + size > self._most_promised:
            return 0
        self.promised += size
        return size

    def landed(self, key: _Key, flight: "_Flight", promised: int) -> None:
        """The flight is over, and what was promised to it is free."""
        self.promised -= promised
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Transfer):
    """A transfer that others may join; ``is_current`` until the image is dropped."""

    __slots__ = ("_conditions", "_flights", "_key", "_promised", "door", "is_current")

    def __init__(self, flights: Flights, key: _Key, door: Door, conditions: Mapping[str, str]) -> None:
        super().__init__()
        self._flights = flights
        self._key = key
        self._conditions = conditions
        self._promised = 0
        self.door = door
        self.is_current = True

    async def open(self) -> None:
        """Through the door, and remember what COS says of the object; memory may be promised to its body."""
        flights, door = self._flights, self.door
        body = flights.body_of(door, await door.open(self._conditions))
        if self.is_current:
            flights.cache.answered(door.object_id, door.image.record.image_id, body.status, body.facts)
        self._promised = promised = flights.promise(body)
        self.begins(body, promised > 0)

    def ended(self) -> None:
        """Give the whole body to the cache, if that is what it was kept for."""
        self._flights.landed(self._key, self, self._promised)
        if self.is_current and self.is_over and self.keeps_all:
            image_id = self.door.image.record.image_id
            self._flights.cache.learn(self.door.object_id, image_id, self.body.facts, self.whole)
