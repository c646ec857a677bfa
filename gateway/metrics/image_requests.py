"""Requests for images, summed up for the statistics of the day."""

from collections.abc import Collection, Iterator
from typing import Final

from gateway.metrics.loop_counters import RequestMetrics

ABORTED: Final = "aborted"  # counted in place of a status when the gateway cut the connection off after sending one

# Bad credentials get these whether the image exists or not, so a request that ends so is a request for no image.
_NOT_FOR_AN_IMAGE = frozenset({"400", "401", "404", "405"})


class ImageRequests:
    """Totals since the start over the ``routes`` whose address names one image."""

    def __init__(self, requests: RequestMetrics, routes: Collection[str]) -> None:
        self._requests = requests
        self._routes = routes

    def count(self) -> int:
        """Return the number of requests for images."""
        return sum(count for _, count, _ in self._totals())

    def errors(self) -> int:
        """Return the number of those that ended with a 5xx or were cut off."""
        return sum(count for status, count, _ in self._totals() if status.startswith("5") or status == ABORTED)

    def milliseconds(self) -> int:
        """Return the whole milliseconds that all of them took together."""
        return int(1000 * sum(seconds for _, _, seconds in self._totals()))

    def _totals(self) -> Iterator[tuple[str, int, float]]:
        for route in self._routes:
            for status, count, seconds in self._requests.totals(route):
                if status not in _NOT_FOR_AN_IMAGE:
                    yield status, count, seconds
