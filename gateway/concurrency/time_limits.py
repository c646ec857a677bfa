"""Time on the event loop: limits of waits, and slices of long work, between which the loop serves requests."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_STEPS: Final = 100
_LATEST: Final = 10  # times the limit, however late the loop is
_SLICE: Final = 0.001  # seconds


class SharedTimeout:
    """One time limit, with one timer, for many waits: ``with shared_timeout.limit():`` raises ``TimeoutError``.

    ``asyncio.timeout`` and the read timeouts of aiohttp set and cancel a timer per wait, which is 5 % of the time to
    relay a small image. Waits of equal length expire in the order in which they began, so a timer for the oldest wait
    is enough. The timer is not cancelled when that wait ends.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waits: dict[_Wait, None] = {}  # the oldest first
        self.is_scheduled = False

    def limit(self) -> "_Wait":
        """Return a context for this task. The context may be entered repeatedly, but not nested."""
        return _Wait(self)

    def expire_due(self) -> None:
        now = time.monotonic()
        for wait in list(self.waits):
            if wait.due > now:
                asyncio.get_running_loop().call_later(wait.due - now, self.expire_due)
                return
            del self.waits[wait]
            wait.expire()
        self.is_scheduled = False


class _Limit:
    """A time limit of a task: cancels the task, and turns that into ``TimeoutError``, as ``asyncio.timeout`` does."""

    __slots__ = ("_cancelling", "_is_expired", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "only tasks wait"  # noqa: S101
        self._task = task
        self._cancelling = task.cancelling()
        self._is_expired = False

    def expire(self) -> None:
        self._is_expired = True
        self._task.cancel()

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        # If the task was also cancelled from elsewhere, that cancellation takes precedence.
        if self._is_expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class _Wait(_Limit):
    """The context of one wait that a ``SharedTimeout`` limits."""

    __slots__ = ("_shared_timeout", "due")

    def __init__(self, shared_timeout: SharedTimeout) -> None:
        super().__init__()
        self._shared_timeout = shared_timeout

    def __enter__(self) -> None:
        shared = self._shared_timeout
        self.due = time.monotonic() + shared.seconds
        shared.waits[self] = None
        if not shared.is_scheduled:
            shared.is_scheduled = True
            asyncio.get_running_loop().call_later(shared.seconds, shared.expire_due)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._is_expired:
            self._end(kind, error)
        else:
            del self._shared_timeout.waits[self]


class loop_timeout(_Limit):  # noqa: N801 - used as a function is, like ``asyncio.timeout``
    """Raises ``TimeoutError`` if its ``async with`` block takes over ``seconds`` of an event loop that runs on time.

    ``asyncio.timeout`` also counts the delay of a busy loop. A thousand streams that start at once keep the loop busy
    for seconds, and then every wait times out although the answer is already in the socket. Here the limit is divided
    into a hundred timers, and each timer starts when the previous timer has run. So an iteration of a late loop uses
    up at most a hundredth of the limit. After ten times ``seconds`` the limit ends in any case.
    """

    __slots__ = ("_latest", "_loop", "_step_seconds", "_steps", "_timer")

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._latest = self._loop.time() + _LATEST * seconds
        self._step_seconds = seconds / _STEPS
        self._steps = 0

    async def __aenter__(self) -> None:
        self._timer = self._loop.call_later(self._step_seconds, self._step)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        self._end(kind, error)

    def _step(self) -> None:
        self._steps += 1
        if self._steps < _STEPS and self._loop.time() < self._latest:
            self._timer = self._loop.call_later(self._step_seconds, self._step)
        else:
            self.expire()


class TimeSlices:
    """Divides long work into slices: ``await slices.pause()`` lets the event loop run once a millisecond is used.

    A millisecond is half of the goal of two, because the current step is finished first. The first slice begins when
    the object is made, so make it just before the loop.
    """

    __slots__ = ("_clock", "_ends_at")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._ends_at = clock() + _SLICE

    async def pause(self) -> None:
        if self._clock() >= self._ends_at:
            await asyncio.sleep(0)
            self._ends_at = self._clock() + _SLICE


def in_groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in order, ``size`` at a time, for commands of bounded size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
