"""What the log is told of Redis."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class AvailabilityLog:
    """Once when Redis goes away, with the reason, and once when it is back; what it refuses, once in ``every`` seconds.

    One that is full or read-only still serves what it has: refusals and answers then come by turns.
    """

    def __init__(self, every: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._monotonic = monotonic
        self._is_away = False
        self._next_refusal = float("-inf")

    def away(self, reason: str) -> None:
        """It is not asked any more for now."""
        if not self._is_away:
            logger.warning("redis is away, going on without it: reason=%s", reason)
        self._is_away = True

    def answered(self) -> None:
        """Whatever it said."""
        if self._is_away:
            logger.info("redis is back")
        self._is_away = False

    def refused(self, reason: str) -> None:
        """It answered with an error."""
        now = self._monotonic()
        if now >= self._next_refusal:
            logger.warning("redis refuses what it is asked: reason=%s", reason)
            self._next_refusal = now + self._every
