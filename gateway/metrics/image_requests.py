"""Totals of the requests for images, for the daily statistics."""

from collections.abc import Collection, Iterator
from typing import Final

from gateway.metrics.loop_counters import RequestMetrics

ABORTED: Final = "aborted"  # counted in place of a status if the connection was reset after sending one

# The statuses of requests that may name no existing image; 401 is the same whether the image exists or not.
_NO_IMAGE = frozenset({"400", "401", "404", "405"})


class ImageRequests:
    """Totals since the start, over ``routes``, the routes that serve a single image."""

    def __init__(self, requests: RequestMetrics, routes: Collection[str]) -> None:
        self._requests = requests
        self._routes = routes

    def count(self) -> int:
        """Return the number of requests for images."""
        return sum(count for _, count, _ in self._totals())

    def errors(self) -> int:
        """Return the number of requests that ended with a 5xx or an aborted transfer."""
        return sum(count for status, count, _ in self._totals() if status.startswith("5") or status == ABORTED)

    def milliseconds(self) -> int:
        """Return the total duration of these requests in whole milliseconds."""
        return int(1000 * sum(seconds for _, _, seconds in self._totals()))

    def _totals(self) -> Iterator[tuple[str, int, float]]:
        for route in self._routes:
            for status, count, seconds in self._requests.totals(route):
                if status not in _NO_IMAGE:
                    yield status, count, seconds
