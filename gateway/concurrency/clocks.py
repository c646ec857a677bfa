"""Clocks that never go back."""

import time
from collections.abc import Callable
from functools import partial

# Seconds that also pass while the machine is suspended, as the life of a URL does. Only Linux has such a clock.
boot_time = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def steady_time() -> Callable[[], float]:
    """Return a clock in Unix seconds. It starts at the time of the machine, and ignores later corrections."""
    offset = time.time() - boot_time()
    return lambda: offset + boot_time()
