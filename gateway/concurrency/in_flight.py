"""Which requests are being answered."""

import asyncio

from gateway.metrics.collectors import Metrics


class InFlight:
    """Knows the requests under way by number, the oldest lowest."""

    def __init__(self, metrics: Metrics) -> None:
        metrics.inflight_requests.set_function(lambda: len(self._numbers))
        self._next = 0
        self._numbers: dict[int, asyncio.Transport | None] = {}

    def began(self, transport: asyncio.Transport | None = None) -> int:
        """A request is under way on that connection; its number, for ``ended``."""
        number = self._next
        self._next += 1
        self._numbers[number] = transport
        return number

    def ended(self, number: int) -> None:
        """That request is over."""
        self._numbers.pop(number, None)

    def transports(self) -> list[asyncio.Transport]:
        """The connections of the requests under way."""
        return [transport for transport in self._numbers.values() if transport is not None]

    def mark(self) -> int:
        """A point in time, for ``any_before``."""
        return self._next

    def any_before(self, mark: int) -> bool:
        """Whether a request that had begun by ``mark`` is still under way."""
        return any(number < mark for number in self._numbers)

    def any(self) -> bool:
        """Whether any request is under way."""
        return bool(self._numbers)
