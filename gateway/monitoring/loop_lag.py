"""Measures the lag of the event loop: how late it runs a timer."""

import asyncio
from typing import Final

from prometheus_client import Histogram

_INTERVAL: Final = 0.05  # seconds; twenty wake-ups a second cost less than a thousandth of a core


class LoopLag:
    """Observes the delay of each of its timers in ``image_gateway_event_loop_lag_seconds``.

    All work on the loop has this delay, caused by a long callback, a busy processor, or a thread that holds the
    interpreter's lock.
    """

    def __init__(self, lag: Histogram, interval: float = _INTERVAL) -> None:
        self._lag = lag
        self._interval = interval

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            self._lag.observe(max(0.0, loop.time() - due))
