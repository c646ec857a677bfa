"""The time that a denial takes, made independent of the image it denies."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

_STEP: Final = 0.025  # seconds; a look-up in Redis and Postgres takes a few milliseconds
_JITTER: Final = 0.005  # seconds
_MOST: Final = 10  # steps
_MEMORY: Final = 10.0  # seconds


class DenialDelay:
    """Holds each 401 and 404 for an image until a time that does not depend on the image.

    A private image in memory is denied in microseconds, one to be signed takes Redis and Postgres, an unknown id takes
    them again every few seconds: whoever measures that learns which ids exist. So a denial leaves at a multiple of
    25 ms after its request began, and not before the slowest denial of the last 10 s would have left (at most 250 ms):
    while Postgres is slow, all denials are. One that takes longer than 250 ms leaves at the next multiple.

    Timers of the loop run for whole milliseconds from when they were set (``selectors.EpollSelector``), which shows how
    long the work took, modulo one. A random 0 to 5 ms more, a whole number of them, makes that remainder uniform.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._now = now
        self._jitter = jitter if jitter is not None else random.SystemRandom().random
        self._slowest = 1  # steps
        self._slowest_until = float("-inf")

    async def hold(self, started: float) -> None:
        """Return when the answer to a request that began at ``started`` may leave."""
        await asyncio.sleep(self.seconds_left(started))

    def seconds_left(self, started: float) -> float:
        """For how long to hold the answer from now on."""
        now = self._now()
        own = int((now - started) / _STEP) + 1
        if own >= self._slowest or now >= self._slowest_until:
            self._slowest, self._slowest_until = min(own, _MOST), now + _MEMORY
        return started + max(own, self._slowest) * _STEP - now + self._jitter() * _JITTER
