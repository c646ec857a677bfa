"""Single-flight: concurrent callers with the same key share a task."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from prometheus_client import Counter

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one call per key at a time, whose result all callers with that key share.

    The call runs in its own task, so cancelling a caller, even the first, does not cancel the call for the others.

    cancel_without_callers: cancel a call that has lost all its callers, instead of letting it end.
    joined: how many callers found their call already running.
    """

    def __init__(self, name: str, joined: Counter | None = None, *, cancel_without_callers: bool = False) -> None:
        self._name = name
        self._joined = joined
        self._cancel_without_callers = cancel_without_callers
        self._callers: defaultdict[asyncio.Task[V], int] = defaultdict(int)
        self._calls: dict[K, asyncio.Task[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()  # including calls that can no longer be joined

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of ``work()``, or of the call already running for ``key``. Raises that call's errors."""
        if self._joined is not None and key in self._calls:
            self._joined.inc()
        task = self.start(key, work)
        self._callers[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._callers[task] -= 1
            if self._callers[task] == 0:
                del self._callers[task]
                if self._cancel_without_callers and not task.done():
                    self._forget(key, task)  # a cancelled call cannot be joined
                    task.cancel()

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> "asyncio.Task[V]":
        """Return the task already running for ``key``, or a new task that runs ``work()``. Awaiting it is optional."""
        task = self._calls.get(key)
        if task is None:
            task = self._calls[key] = asyncio.create_task(work(), name=f"{self._name}:{key}")
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._finish(key, done))
        return task

    def running(self, key: K) -> "asyncio.Task[V] | None":
        """Return the running call for ``key`` that can be joined, or None."""
        return self._calls.get(key)

    def __len__(self) -> int:
        return len(self._calls)

    def detach(self, matches: Callable[[K], bool] = lambda _: True) -> None:
        """Let no later caller join a running call whose key matches. Its present callers still get the result."""
        for key in [key for key in self._calls if matches(key)]:
            del self._calls[key]

    async def close(self) -> None:
        """Cancel all running calls and wait for them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, key: K, task: "asyncio.Task[V]") -> None:
        if self._calls.get(key) is task:
            del self._calls[key]

    def _finish(self, key: K, task: "asyncio.Task[V]") -> None:
        self._tasks.discard(task)
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not warn if every caller was cancelled
