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
    """Retries may be a share of all requests: while everything fails, they do not multiply the load.

    Each request earns ``ratio`` of a retry, up to ``reserve`` that are there from the start.
    """

    def __init__(self, *, ratio: float = 0.2, reserve: float = 20.0) -> None:
        self._ratio = ratio
        self._reserve = reserve
        self._left = reserve

    def earn(self) -> None:
        """A request is made for the first time."""
        self._left = min(self._reserve, self._left + self._ratio)

    def spend(self) -> bool:
        """Whether one more retry may be made; a True takes it."""
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
