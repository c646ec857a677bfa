"""One miss, one piece of work: callers that want the same thing at the same time share one task."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from prometheus_client import Counter

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one call per key at a time.

    The work is a task of its own: a caller that leaves, the first one included, harms nobody. When all have left, it
    goes on and what it found is there for the next, or with ``is_for_callers`` it is cancelled. The entry is gone when
    the task is done.
    """

    def __init__(self, name: str, joined: Counter, *, is_for_callers: bool = False) -> None:
        self._name = name
        self._joined = joined
        self._is_for_callers = is_for_callers
        self._callers: defaultdict[asyncio.Task[V], int] = defaultdict(int)
        self._flights: dict[K, asyncio.Task[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()  # also those that nobody may join any more

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The result of ``work()``, this call's or that of the one already under way; raises what it raises."""
        if key in self._flights:
            self._joined.inc()
        flight = self.start(key, work)
        self._callers[flight] += 1
        try:
            return await asyncio.shield(flight)
        finally:
            self._callers[flight] -= 1
            if self._callers[flight] == 0:
                del self._callers[flight]
                if self._is_for_callers and not flight.done():
                    self._leave(key, flight)

    def start(self, key: K, work: Callable[[], Awaitable[V]]) -> "asyncio.Task[V]":
        """The task that does ``work()``, this call's or the one already under way; nobody has to wait for it."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(_awaited(work), name=f"{self._name}:{key}")
            self._tasks.add(flight)
            flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    def __len__(self) -> int:
        """How many calls are under way for whoever asks now."""
        return len(self._flights)

    def forget(self, concerned: Callable[[K], bool] = lambda _: True) -> None:
        """Whoever asks from now on wants newer work than what is under way; those who wait for that still get it."""
        for key in [key for key in self._flights if concerned(key)]:
            del self._flights[key]

    async def close(self) -> None:
        """Cancel what is still under way and wait for it."""
        flights = list(self._tasks)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _leave(self, key: K, flight: "asyncio.Task[V]") -> None:
        if self._flights.get(key) is flight:  # nobody may join what is being cancelled
            del self._flights[key]
        flight.cancel()

    def _land(self, key: K, flight: "asyncio.Task[V]") -> None:
        self._tasks.discard(flight)
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # every waiter may have left: an error nobody waits for is not a warning


async def _awaited(work: Callable[[], Awaitable[V]]) -> V:
    return await work()
