"""Retry budget, backoff and Retry-After of requests to COS."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from gateway.net.http_fields import seconds_of
from gateway.settings import Live

_BASE: Final = 0.05  # seconds
_CAP: Final = 1.0
_SECONDS: Final = re.compile(r"[0-9]{1,19}")

# Returns the seconds to wait after the n-th failure, counted from 0.
Backoff = Callable[[int], float]


def backoff(attempt: int, random: Callable[[], float] = random.random) -> float:
    """Return a random pause (full jitter) below a limit that doubles with each failure, up to 1 s."""
    return random() * min(_CAP, _BASE * 2.0**attempt)


@dataclass(slots=True, eq=False)
class Retries:
    """Decides whether a request to COS is retried: up to ``count`` times, after ``backoff``, within a shared budget.

    The budget limits retries to a share of all requests: while everything fails, they do not multiply the load. Each
    request earns ``ratio`` of a retry, up to ``reserve``, which is there from the start. ``requests`` is the number of
    requests made so far, retries not counted. The client increments it: a method call would cost every request, while
    the sum is needed for a retry only.
    """

    count: Live[int]
    _: KW_ONLY
    ratio: float = 0.2
    reserve: float = 20.0
    backoff: Backoff = backoff
    requests: int = 0
    _requests_at_last_retry: int = 0
    _left: float = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.reserve

    def spend(self) -> bool:
        """Return whether the budget has one more retry. True takes it."""
        earned = self.ratio * (self.requests - self._requests_at_last_retry)
        self._requests_at_last_retry = self.requests
        self._left = min(self.reserve, self._left + earned)
        if self._left < 1:
            return False
        self._left -= 1
        return True


def retry_after(field: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds in a Retry-After: a number, or a date by this machine's clock (RFC 9110 section 10.2.3)."""
    if field is None:
        return None
    if _SECONDS.fullmatch(field):
        return float(field)
    at = seconds_of(field)
    return max(0.0, at - now()) if at is not None else None
