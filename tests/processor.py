"""How fast the processor is, for limits on processor time that must hold on slower machines too."""

import time


def slowness() -> float:
    """Return how many times longer than on a machine of 2025 this thread takes for some work; at least 1."""
    return max(1.0, min(_seconds_of_work() for _ in range(20)) / 0.001)


def _seconds_of_work() -> float:
    """Return the processor time of what takes a millisecond there."""
    started = time.thread_time()
    sum(number * number for number in range(11_000))
    return time.thread_time() - started
