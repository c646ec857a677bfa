"""A clock that never goes back."""

import time
from functools import partial

# Seconds that also pass while the machine is suspended, as the life of a URL does. Only Linux has such a clock.
boot_time = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
