"""A circuit breaker for each bucket: a bucket that is down does not slow down the others."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MOST_BUCKETS: Final = 1024
_MOST_BAD_OBJECTS: Final = 256


class BucketBreaker:
    """Opens when ``objects`` different objects have failed and none was answered in between.

    An object that always fails counts once, however often it is requested. An object that failed while others were
    answered does not count again before it is answered, and others are tried before it. While the breaker is open, one
    request in ``pause`` seconds is allowed. The first answer closes the breaker.
    """

    def __init__(
        self, *, objects: int = 10, pause: float = 1.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = objects
        self._pause = pause
        self._monotonic = monotonic
        self._failing: set[str] = set()  # since the last answer
        self._bad: OrderedDict[str, None] = OrderedDict()  # failed while others were answered
        self._next_try = 0.0

    @property
    def is_open(self) -> bool:
        """Whether only one request in each pause is allowed."""
        return len(self._failing) >= self._limit

    @property
    def is_calm(self) -> bool:
        """Whether no failure is remembered."""
        return not self._failing and not self._bad

    def allows_call(self, object_path: str) -> bool:
        """Return whether to request the object now. While open, True takes the one request of this pause."""
        if not self.is_open:
            return True
        now = self._monotonic()
        if now < self._next_try + (self._pause if object_path in self._bad else 0.0):
            return False
        self._next_try = now + self._pause
        return True

    def succeeded(self, object_path: str) -> None:
        """Record that the bucket answered a request for the object."""
        self._bad.update(dict.fromkeys(self._failing))
        self._failing.clear()
        self._bad.pop(object_path, None)
        while len(self._bad) > _MOST_BAD_OBJECTS:
            self._bad.popitem(last=False)

    def failed(self, object_path: str) -> None:
        """Record that a request for the object failed."""
        if object_path not in self._bad and not self.is_open:
            self._failing.add(object_path)
        if self.is_open:
            self._next_try = self._monotonic() + self._pause


class CircuitBreakers:
    """The breakers of the buckets with remembered failures.

    ``by_bucket`` is empty while COS works. The client looks there first, so that a request that succeeds calls no
    breaker. At most 1024 breakers are kept. Beyond that, the oldest is dropped.
    """

    def __init__(self, make: Callable[[], BucketBreaker] = BucketBreaker) -> None:
        self._make = make
        self.by_bucket: OrderedDict[str, BucketBreaker] = OrderedDict()

    def is_open(self, bucket: str) -> bool:
        """Return whether only one request in each pause is allowed."""
        breaker = self.by_bucket.get(bucket)
        return breaker is not None and breaker.is_open

    def allows_call(self, bucket: str, object_path: str) -> bool:
        """Return whether to request the object now. While open, True takes the one request of this pause."""
        breaker = self.by_bucket.get(bucket)
        return breaker is None or breaker.allows_call(object_path)

    def failed(self, bucket: str, object_path: str) -> None:
        """Record that a request for the object failed."""
        breaker = self.by_bucket.get(bucket)
        if breaker is None:
            breaker = self.by_bucket[bucket] = self._make()
            if len(self.by_bucket) > _MOST_BUCKETS:
                self.by_bucket.popitem(last=False)
        breaker.failed(object_path)

    def succeeded(self, bucket: str, object_path: str) -> None:
        """Record that the bucket answered a request for the object."""
        breaker = self.by_bucket.get(bucket)
        if breaker is not None:
            breaker.succeeded(object_path)
            if breaker.is_calm:
                del self.by_bucket[bucket]
