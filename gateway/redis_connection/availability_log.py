"""The log lines about the availability of Redis."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_EVERY = 60.0  # seconds


class AvailabilityLog:
    """Logs each outage once with its reason, its end once, and refused commands once a minute.

    A Redis that is full or read-only refuses writes and answers reads. That is not an outage. ``address`` is that of a
    node of a Cluster, else empty.
    """

    def __init__(self, address: str = "", *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name = f"redis {address}".strip()
        self._monotonic = monotonic
        self._is_away = False
        self._next_refusal = float("-inf")

    def away(self, reason: str) -> None:
        """Log that Redis is not called any more for now."""
        if not self._is_away:
            logger.warning("%s does not answer, going on without it: reason=%s", self._name, reason)
        self._is_away = True

    def answered(self) -> None:
        """Log the end of an outage, if there was one."""
        if self._is_away:
            logger.info("%s answers again", self._name)
        self._is_away = False

    def refused(self, reason: str) -> None:
        """Log that Redis answered with an error."""
        now = self._monotonic()
        if now >= self._next_refusal:
            logger.warning("%s refuses commands: reason=%s", self._name, reason)
            self._next_refusal = now + _EVERY
