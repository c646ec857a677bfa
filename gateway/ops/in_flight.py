"""Which requests are being answered."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.metrics import Metrics


class InFlight:
    """Knows the requests under way by number, the oldest lowest."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._next = 0
        self._numbers: set[int] = set()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request is under way for the duration."""
        number = self._next
        self._next += 1
        self._numbers.add(number)
        self._metrics.inflight_requests.inc()
        try:
            yield
        finally:
            self._numbers.discard(number)
            self._metrics.inflight_requests.dec()

    def mark(self) -> int:
        """A point in time, for ``any_before``."""
        return self._next

    def any_before(self, mark: int) -> bool:
        """Whether a request that had begun by ``mark`` is still under way."""
        return any(number < mark for number in self._numbers)

    def any(self) -> bool:
        """Whether any request is under way."""
        return bool(self._numbers)
