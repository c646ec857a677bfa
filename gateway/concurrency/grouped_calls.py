"""Grouped calls: calls that arrive together share one piece of work, and calls for the same key share its result."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from prometheus_client import Counter

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MOST_KEYS = 200
_HOLD = 0.005  # seconds


@dataclass(eq=False, slots=True)
class GroupedCalls(Generic[K, V]):
    """Runs ``work`` once for calls that arrive together, in groups of at most ``most_keys`` different keys.

    ``work`` returns a result or an error for each key. When ``work`` raises, every key of its group gets that error.

    A call starts a group at once unless a group is running. Calls that arrive meanwhile wait for the end of the
    running group and form the next group. So groups grow with the load, and no call waits for a timer. When a group
    lasts longer than ``hold`` seconds, the next group starts without waiting for its end, so no call waits longer than
    that for the work of others.

    The keys of a group have the same ``part_of``, such as the server that holds them. So a server that is slow holds up
    its own keys alone.

    A call for a key that is already waiting or running shares the result of that key. ``joined`` counts such calls. A
    group runs in its own task, in the context of the call that started it, so cancelling a caller does not affect the
    other callers. A key that has lost all its callers is dropped before its group starts.
    """

    name: str
    work: Callable[[Sequence[K]], Awaitable[Mapping[K, V | Exception]]]
    joined: Counter | None = None
    _: KW_ONLY
    part_of: Callable[[K], str] = lambda _: ""
    most_keys: int = _MOST_KEYS
    hold: float = _HOLD
    # By part, the callers of each key that is not in a group yet.
    _waiting: defaultdict[str, dict[K, "list[asyncio.Future[V]]"]] = field(
        default_factory=lambda: defaultdict(dict), init=False
    )
    # The callers of each running key that calls may join.
    _running: dict[K, "list[asyncio.Future[V]]"] = field(default_factory=dict, init=False)
    _groups: "set[asyncio.Task[None]]" = field(default_factory=set, init=False)
    # By part, the group that the next one waits for.
    _holders: "dict[str, asyncio.Task[None]]" = field(default_factory=dict, init=False)

    async def run(self, key: K) -> V:
        """Return the result for ``key``, or raise its error."""
        return await self._join(key)

    async def run_many(self, keys: Iterable[K]) -> dict[K, V | Exception]:
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
        self._waiting = defaultdict(dict)
        for group in groups:
            group.cancel()
        await asyncio.gather(*groups, return_exceptions=True)
        for by_key in waiting.values():
            for waiters in by_key.values():
                _cancel(waiters)

    def _join(self, key: K) -> "asyncio.Future[V]":
        waiter: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        part = self.part_of(key)
        waiting = self._waiting[part]
        waiters = self._running.get(key) or waiting.get(key)
        if waiters is None:
            waiting[key] = [waiter]
            if part not in self._holders:
                self._start_group(part)
        else:
            if self.joined is not None:
                self.joined.inc()
            waiters.append(waiter)
        return waiter

    def _start_group(self, part: str) -> None:
        self._holders[part] = group = asyncio.create_task(self._run_group(part), name=self.name)
        self._groups.add(group)
        group.add_done_callback(partial(self._finish, part))

    def _finish(self, part: str, group: "asyncio.Task[None]") -> None:
        self._groups.discard(group)
        self._release(part, group)

    def _release(self, part: str, group: "asyncio.Task[None] | None") -> None:
        """Let the next group start."""
        if part in self._holders and self._holders[part] is group:
            del self._holders[part]
            if self._waiting[part]:
                self._start_group(part)

    async def _run_group(self, part: str) -> None:
        # Taken now and not at the start of the task: calls made since then belong to this group.
        waiting = self._waiting[part]
        taken = ((key, waiting.pop(key)) for key in list(islice(waiting, self.most_keys)))
        group = {key: waiters for key, waiters in taken if not all(waiter.done() for waiter in waiters)}
        self._running |= group
        holder, loop = asyncio.current_task(), asyncio.get_running_loop()
        timer = loop.call_later(self.hold, self._release, part, holder)
        results: Mapping[K, V | Exception] = {}
        try:
            if group:
                results = await self.work(list(group))
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
        self._release(part, holder)
        for key, waiters in group.items():
            _answer(waiters, results[key] if key in results else LookupError(f"no result for {key}"))


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
