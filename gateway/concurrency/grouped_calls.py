"""Grouped calls: calls that arrive together share one piece of work, and calls for the same key share its result."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from prometheus_client import Counter

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MOST_KEYS = 200
_HOLD = 0.005  # seconds


class GroupedCalls(Generic[K, V]):
    """Runs ``work`` for groups of at most ``most_keys`` different keys.

    ``work`` returns a result or an error for each key. When ``work`` raises, every key of its group gets that error.

    A call starts a group at once unless a group is running. Calls that arrive meanwhile wait for the end of the
    running group and form the next group. So groups grow with the load, and no call waits for a timer. When a group
    lasts longer than ``hold`` seconds, the next group starts without waiting for its end, so no call waits longer than
    that for the work of others.

    A call for a key that is already waiting or running shares the result of that key. ``joined`` counts such calls. A
    group runs in its own task, in the context of the call that started it, so cancelling a caller does not affect the
    other callers. A key that has lost all its callers is dropped before its group starts.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[K]], Awaitable[Mapping[K, V | Exception]]],
        joined: Counter | None = None,
        *,
        most_keys: int = _MOST_KEYS,
        hold: float = _HOLD,
    ) -> None:
        self._name = name
        self._work = work
        self._joined = joined
        self._most_keys = most_keys
        self._hold = hold
        self._waiting: dict[K, list[asyncio.Future[V]]] = {}  # the callers of each key that is not in a group yet
        self._running: dict[K, list[asyncio.Future[V]]] = {}  # the callers of each running key that calls may join
        self._groups: set[asyncio.Task[None]] = set()
        self._holder: asyncio.Task[None] | None = None  # the group that the next one waits for

    async def run(self, key: K) -> V:
        """Return the result for ``key``, or raise its error."""
        return await self._join(key)

    async def run_many(self, keys: Iterable[K]) -> dict[K, V | Exception]:
        """Return the result or the error of each key."""
        waiters = {key: self._join(key) for key in keys}
        results: dict[K, V | Exception] = {}
        try:
            # One after another: after the first of a group, the others have their results. ``asyncio.gather`` would add
            # a callback and a step of the event loop for each.
            for key, waiter in waiters.items():
                try:
                    results[key] = await waiter
                except Exception as error:  # noqa: BLE001 - returned
                    results[key] = error
        finally:
            _cancel(waiters.values())  # the remaining ones, if this call is cancelled
        return results

    def detach(self, matches: Callable[[K], bool] = lambda _: True) -> None:
        """Let no later call join a running key that matches. The current callers of the key still get its result."""
        for key in [key for key in self._running if matches(key)]:
            del self._running[key]

    async def close(self) -> None:
        """Cancel all groups, wait for their end, and cancel the calls that wait for the next group."""
        groups, waiting = list(self._groups), self._waiting
        self._waiting = {}
        for group in groups:
            group.cancel()
        await asyncio.gather(*groups, return_exceptions=True)
        for waiters in waiting.values():
            _cancel(waiters)

    def _join(self, key: K) -> "asyncio.Future[V]":
        waiter: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        waiters = self._running.get(key) or self._waiting.get(key)
        if waiters is None:
            self._waiting[key] = [waiter]
            if self._holder is None:
                self._start_group()
        else:
            if self._joined is not None:
                self._joined.inc()
            waiters.append(waiter)
        return waiter

    def _start_group(self) -> None:
        self._holder = group = asyncio.create_task(self._run_group(), name=self._name)
        self._groups.add(group)
        group.add_done_callback(self._finish)

    def _finish(self, group: "asyncio.Task[None]") -> None:
        self._groups.discard(group)
        self._release(group)

    def _release(self, group: "asyncio.Task[None] | None") -> None:
        """Let the next group start."""
        if group is self._holder:
            self._holder = None
            if self._waiting:
                self._start_group()

    async def _run_group(self) -> None:
        # Taken now and not at the start of the task: calls made since then belong to this group.
        group = self._take_waiting()
        holder, loop = asyncio.current_task(), asyncio.get_running_loop()
        timer = loop.call_later(self._hold, self._release, holder)
        results: Mapping[K, V | Exception] = {}
        try:
            if group:
                results = await self._work(list(group))
        except Exception as error:  # noqa: BLE001 - raised again by every call
            results = dict.fromkeys(group, error)
        except asyncio.CancelledError:
            for waiters in group.values():
                _cancel(waiters)
            raise
        finally:
            timer.cancel()
            for key, waiters in group.items():
                if self._running.get(key) is waiters:
                    del self._running[key]
        self._release(holder)
        for key, waiters in group.items():
            _answer(waiters, results[key] if key in results else LookupError(f"no result for {key}"))

    def _take_waiting(self) -> dict[K, "list[asyncio.Future[V]]"]:
        """Move the oldest waiting keys to the running keys, and return the moved keys. Drop keys without a caller."""
        group: dict[K, list[asyncio.Future[V]]] = {}
        for key in list(islice(self._waiting, self._most_keys)):
            waiters = self._waiting.pop(key)
            if not all(waiter.done() for waiter in waiters):
                group[key] = waiters
        self._running |= group
        return group


class PartitionedCalls(Generic[K, V]):
    """Grouped calls whose keys are in parts, such as the servers that hold them: a group has keys of one part.

    So a part that is slow holds up its own keys alone. ``make`` makes the grouped calls of a part.
    """

    def __init__(self, part_of: Callable[[K], str], make: Callable[[], GroupedCalls[K, V]]) -> None:
        self._part_of = part_of
        self._make = make
        self._parts: dict[str, GroupedCalls[K, V]] = {}

    async def run(self, key: K) -> V:
        """Return the result for ``key``, or raise its error."""
        return await self._calls_for(key).run(key)

    async def run_many(self, keys: Sequence[K]) -> dict[K, V | Exception]:
        """Return the result or the error of each key, in their order."""
        groups: dict[GroupedCalls[K, V], list[K]] = {}
        for key in keys:
            groups.setdefault(self._calls_for(key), []).append(key)
        if len(groups) == 1:
            [(calls, own)] = groups.items()
            return await calls.run_many(own)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(calls.run_many(own), name="parts") for calls, own in groups.items()]
        results = {key: result for task in running for key, result in task.result().items()}
        return {key: results[key] for key in keys}

    def detach(self, matches: Callable[[K], bool] = lambda _: True) -> None:
        """Let no later call join a running key that matches. The current callers of the key still get its result."""
        for calls in self._parts.values():
            calls.detach(matches)

    async def close(self) -> None:
        """Cancel all groups, and the calls that wait for the next group."""
        for calls in self._parts.values():
            await calls.close()

    def _calls_for(self, key: K) -> GroupedCalls[K, V]:
        part = self._part_of(key)
        if (calls := self._parts.get(part)) is None:
            calls = self._parts[part] = self._make()
        return calls


def _answer(waiters: "Iterable[asyncio.Future[V]]", result: V | Exception) -> None:
    for waiter in waiters:
        if waiter.done():  # its caller was cancelled
            continue
        if isinstance(result, Exception):
            waiter.set_exception(result)
            waiter.exception()  # retrieved, so that asyncio does not warn if the caller is cancelled now
        else:
            waiter.set_result(result)


def _cancel(waiters: "Iterable[asyncio.Future[V]]") -> None:
    for waiter in waiters:
        waiter.cancel()
