"""A circuit breaker: what has just failed repeatedly is not waited for again."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Closed: calls go through. After ``failures`` in a row it opens, and one call in ``pause`` seconds may try.

    The first success closes it.
    """

    def __init__(
        self, *, failures: int = 3, pause: float = 1.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._pause = pause
        self._monotonic = monotonic
        self._failures = 0
        self._next_try = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last ``failures`` calls all failed."""
        return self._failures >= self._limit

    def allows_call(self) -> bool:
        """Whether to try now; while open, a True also takes the one try of this pause."""
        if not self.is_open:
            return True
        now = self._monotonic()
        if now < self._next_try:
            return False
        self._next_try = now + self._pause
        return True

    def succeeded(self) -> None:
        """The call was answered."""
        self._failures = 0

    def failed(self, *, at_once: bool = False) -> None:
        """The call failed; ``at_once`` opens without waiting for more of it, as when it took its whole time."""
        self._failures = max(self._failures + 1, self._limit if at_once else 0)
        if self.is_open:
            self._next_try = self._monotonic() + self._pause
