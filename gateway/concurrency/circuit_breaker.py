"""A circuit breaker: stop calling what has failed repeatedly, and try again after a pause."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after ``failures`` failed calls in a row, and closes at the next call that succeeds.

    While the breaker is closed, every call is made. While it is open, one call in ``pause`` seconds is made.

    ``is_open`` (the last ``failures`` calls all failed) and ``has_failures`` (the last call failed) are plain
    attributes, so that reading them on every call costs nothing while all is well.
    """

    def __init__(
        self, *, failures: int = 3, pause: float = 1.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._pause = pause
        self._monotonic = monotonic
        self._failures = 0
        self._next_try = 0.0
        self.is_open = False
        self.has_failures = False

    def allows_call(self) -> bool:
        """Return whether to make a call now. While the breaker is open, True uses up the only call of this pause."""
        if not self.is_open:
            return True
        now = self._monotonic()
        if now < self._next_try:
            return False
        self._next_try = now + self._pause
        return True

    def succeeded(self) -> None:
        """Close: a call was answered."""
        self._failures = 0
        self.is_open = self.has_failures = False

    def failed(self, *, at_once: bool = False) -> None:
        """Count a failed call. ``at_once`` opens the breaker at this failure: the call used its whole time limit."""
        self._failures = max(self._failures + 1, self._limit if at_once else 0)
        self.has_failures = True
        self.is_open = self._failures >= self._limit
        if self.is_open:
            self._next_try = self._monotonic() + self._pause
