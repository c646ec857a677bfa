"""Which requests are being answered."""

from gateway.metrics import Metrics


class InFlight:
    """Knows the requests under way by number, the oldest lowest."""

    def __init__(self, metrics: Metrics) -> None:
        metrics.inflight_requests.set_function(lambda: len(self._numbers))
        self._next = 0
        self._numbers: set[int] = set()

    def began(self) -> int:
        """A request is under way; its number, for ``ended``."""
        number = self._next
        self._next += 1
        self._numbers.add(number)
        return number

    def ended(self, number: int) -> None:
        """That request is over."""
        self._numbers.discard(number)

    def mark(self) -> int:
        """A point in time, for ``any_before``."""
        return self._next

    def any_before(self, mark: int) -> bool:
        """Whether a request that had begun by ``mark`` is still under way."""
        return any(number < mark for number in self._numbers)

    def any(self) -> bool:
        """Whether any request is under way."""
        return bool(self._numbers)
