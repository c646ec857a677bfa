"""One circuit breaker for each bucket: a bucket that is down does not slow down those that are not."""

from collections import OrderedDict
from collections.abc import Callable

from gateway.breaker import Breaker

_MOST = 1024


class Breakers:
    """The breakers of the buckets asked lately, made as they are needed."""

    def __init__(self, make: Callable[[], Breaker]) -> None:
        self._make = make
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    def of(self, bucket: str) -> Breaker:
        """The bucket's own; the oldest is forgotten when there are too many."""
        breaker = self._breakers.get(bucket)
        if breaker is None:
            breaker = self._breakers[bucket] = self._make()
            if len(self._breakers) > _MOST:
                self._breakers.popitem(last=False)
        return breaker
