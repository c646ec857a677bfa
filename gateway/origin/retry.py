"""How often, and after what pause, a request that failed is made again."""

import random
import re
import time
from collections.abc import Callable

from gateway.origin.http_date import seconds_of

_BASE = 0.05
_CAP = 1.0
_SECONDS = re.compile(r"[0-9]{1,19}")


class RetryBudget:
    """Limits retries to a share of all requests: while everything fails, they do not multiply the load.

    Each request earns ``ratio`` of a retry, up to ``reserve``, which is there from the start. ``requests`` is the
    number of requests made so far, retries not counted. The client increments it: a method call would cost every
    request, while the sum is needed for a retry only.
    """

    def __init__(self, *, ratio: float = 0.2, reserve: float = 20.0) -> None:
        self.requests = 0
        self._ratio = ratio
        self._reserve = reserve
        self._left = reserve
        self._requests_at_last_retry = 0

    def spend(self) -> bool:
        """Return whether one more retry may be made; True takes it."""
        earned = self._ratio * (self.requests - self._requests_at_last_retry)
        self._requests_at_last_retry = self.requests
        self._left = min(self._reserve, self._left + earned)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Backoff:
    """Exponential, with full jitter: the pause is anything between nothing and twice the one before, capped."""

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        self._random = random

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the ``attempt``-th failure, counted from 0."""
        return self._random() * min(_CAP, _BASE * 2.0**attempt)


def retry_after(field: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that a Retry-After asks for, as a number or as a date (RFC 9110 section 10.2.3); None for anything else.

    The date is compared with this machine's clock; one without a zone is GMT (section 5.6.7).
    """
    if field is None:
        return None
    if _SECONDS.fullmatch(field):
        return float(field)
    at = seconds_of(field)
    return max(0.0, at - now()) if at is not None else None
