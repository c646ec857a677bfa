"""One miss, one piece of work: callers that want the same thing at the same time share one task."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from prometheus_client import Counter

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one call per key at a time.

    The work is a task of its own: a caller that leaves, the first one included, harms nobody; the work goes on and
    what it found is there for the next. The entry is gone when the task is done.
    """

    def __init__(self, name: str, joined: Counter) -> None:
        self._name = name
        self._joined = joined
        self._flights: dict[K, asyncio.Task[V]] = {}
        self._forgotten: set[asyncio.Task[V]] = set()

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The result of ``work()``, this call's or that of the one already under way; raises what it raises."""
        if key in self._flights:
            self._joined.inc()
        return await asyncio.shield(self.start(key, work))

    def start(self, key: K, work: Callable[[], Awaitable[V]]) -> "asyncio.Task[V]":
        """The task that does ``work()``, this call's or the one already under way; nobody has to wait for it."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(_awaited(work), name=f"{self._name}:{key}")
            flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    def forget(self, concerned: Callable[[K], bool] = lambda _: True) -> None:
        """Whoever asks from now on wants newer work than what is under way; those who wait for that still get it."""
        for key in [key for key in self._flights if concerned(key)]:
            self._forgotten.add(self._flights.pop(key))

    async def close(self) -> None:
        """Cancel what is still under way and wait for it."""
        flights = [*self._flights.values(), *self._forgotten]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _land(self, key: K, flight: asyncio.Task[V]) -> None:
        self._forgotten.discard(flight)
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # every waiter may have left: an error nobody waits for is not a warning


async def _awaited(work: Callable[[], Awaitable[V]]) -> V:
    return await work()
