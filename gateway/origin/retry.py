"""Retry budget, backoff and Retry-After of requests to COS."""

import random
import re
import time
from collections.abc import Callable

from gateway.net.http_date import seconds_of
from gateway.settings import Live

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
        """Return whether one more retry may be made. True takes it."""
        earned = self._ratio * (self.requests - self._requests_at_last_retry)
        self._requests_at_last_retry = self.requests
        self._left = min(self._reserve, self._left + earned)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Backoff:
    """Exponential backoff with full jitter: a random pause below a limit that doubles, up to 1 s."""

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        self._random = random

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after the ``attempt``-th failure, counted from 0."""
        return self._random() * min(_CAP, _BASE * 2.0**attempt)


class Retries:
    """How often a request is made again: ``count`` times at most, within the budget, with a pause before each time."""

    def __init__(self, count: Live[int], budget: RetryBudget | None = None, backoff: Backoff | None = None) -> None:
        self.count = count
        self.budget = budget or RetryBudget()
        self.backoff = backoff or Backoff()


def retry_after(field: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds in a Retry-After, a number or a date (RFC 9110 section 10.2.3), or None for anything else.

    A date is compared with this machine's clock. A date without a zone is GMT (section 5.6.7).
    """
    if field is None:
        return None
    if _SECONDS.fullmatch(field):
        return float(field)
    at = seconds_of(field)
    return max(0.0, at - now()) if at is not None else None
