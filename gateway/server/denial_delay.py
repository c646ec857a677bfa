"""Response times of denials that do not depend on the image."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

_STEP: Final = 0.025  # seconds; a look-up in Redis and Postgres takes a few milliseconds
_JITTER: Final = 0.005  # seconds
_TIMER: Final = 0.001  # seconds; a timer of the loop is late by less
_MAX_STEPS: Final = 10
_SLOWEST_LIFETIME: Final = 10.0  # seconds


class DenialDelay:
    """Delays each 401 and 404 for an image to a time that does not depend on the image.

    Denying a private image takes microseconds if it is cached and milliseconds if not, and an unknown id needs Redis
    and Postgres again every few seconds: the response time would show which ids exist. So a denial is sent at a
    multiple of 25 ms after its request began, and not before the slowest denial of the last 10 s would have been sent
    (at most 250 ms): while Postgres is slow, all denials are. That no denial was slow may only mean that none needed
    the stores, so their last probe counts like a denial. A denial that takes longer than 250 ms is sent at the next
    multiple.

    The loop's timers run for whole milliseconds (``selectors.EpollSelector``), counted from the end of the work. With
    timers alone, the response time would have the same fraction of a millisecond as the work. So the last millisecond
    is waited for by turns of the loop, which end within microseconds of the time. A random delay of 0 to 5 ms hides
    these microseconds.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        jitter: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        stores: Callable[[], float] = float,
    ) -> None:
        """``stores`` returns the seconds that a look-up in Redis and Postgres may take, as far as is known."""
        self._now = now
        self._sleep = sleep
        self._stores = stores
        self._jitter = jitter if jitter is not None else random.SystemRandom().random
        self._slowest = 1  # steps
        self._slowest_until = float("-inf")

    async def hold(self, started: float) -> None:
        """Wait until the response to a request that began at ``started`` may be sent."""
        left = self.seconds_left(started)
        until = self._now() + left
        await self._sleep(left - _TIMER)
        while self._now() < until:
            await self._sleep(0)

    def seconds_left(self, started: float) -> float:
        """Return the seconds from now until the response may be sent."""
        now = self._now()
        own = int((now - started) / _STEP) + 1
        if own >= self._slowest or now >= self._slowest_until:
            self._slowest, self._slowest_until = min(own, _MAX_STEPS), now + _SLOWEST_LIFETIME
        of_stores = min(int(self._stores() / _STEP) + 1, _MAX_STEPS)
        return started + max(own, self._slowest, of_stores) * _STEP - now + self._jitter() * _JITTER
