"""Long work on the event loop, divided into slices. The loop serves requests between the slices."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_SLICE: Final = 0.001  # seconds


class TimeSlices:
    """``await slices.pause()`` in a loop lets the event loop run when the work has taken a millisecond.

    A millisecond is half of the goal of two, because the current step is finished first. The first slice begins when
    the object is made, so make it just before the loop.
    """

    __slots__ = ("_clock", "_ends_at")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._ends_at = clock() + _SLICE

    async def pause(self) -> None:
        """Let the event loop run if the slice is over, and begin the next slice."""
        if self._clock() >= self._ends_at:
            await asyncio.sleep(0)
            self._ends_at = self._clock() + _SLICE


def in_groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in order, ``size`` at a time, for commands of bounded size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
