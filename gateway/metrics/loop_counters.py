"""What is counted of every request, at the price of a few operations on lists and dictionaries.

``prometheus_client`` takes a lock and walks the buckets for each observation; four of them cost a fifth of the time
that an answer from memory takes. Here the loop's one thread counts without locks, and collectors tell the sums.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


def _spelled(bound: float) -> str:
    """As Prometheus writes the bounds of buckets."""
    return "+Inf" if bound == float("inf") else str(float(bound))


class Distribution:
    """How many observations fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class LoopCounter(Collector):
    """A counter for the one thread of the loop; ``labels`` are names, their values come with each ``add``."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._counts: defaultdict[tuple[str, ...], int] = defaultdict(int, {} if labels else {(): 0})

    def add(self, values: tuple[str, ...] = (), number: int = 1) -> None:
        """So many more with these values of the labels."""
        self._counts[values] += number

    def total(self, values: tuple[str, ...] = ()) -> int:
        """How many there have been with these values."""
        return self._counts.get(values, 0)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The sums as they are now; a scrape may run in a thread of its own, so on a copy."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count)
        yield family

    def describe(self) -> Iterator[CounterMetricFamily]:
        """The name, so that no other collector can take it."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labels)


class _Answered:
    """A number of requests and the seconds that they took together."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0


class _Route:
    """What is counted of one route; ``answered`` by delivery and status."""

    __slots__ = ("answered", "durations", "first_bytes")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.answered: defaultdict[tuple[str, str], _Answered] = defaultdict(_Answered)
        self.durations = Distribution(bounds)
        self.first_bytes = Distribution(bounds)


class RequestMetrics(Collector):
    """Requests by route, delivery and status; durations and times to the first byte by route."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._routes: dict[str, _Route] = {}

    def answered(self, route: str, delivery: str, status: str, seconds: float, first_byte: float | None) -> None:
        """A request is over, after so many seconds; ``first_byte`` is None where none was sent."""
        counts = self._routes.get(route)
        if counts is None:
            counts = self._routes[route] = _Route(self._bounds)
        answered = counts.answered[delivery, status]
        answered.count += 1
        answered.seconds += seconds
        counts.durations.observe(seconds)
        if first_byte is not None:
            counts.first_bytes.observe(first_byte)

    def totals(self, route: str) -> Iterator[tuple[str, int, float]]:
        """Return for each status with which ``route`` answered its number of requests and their seconds.

        A status comes once for each kind of delivery.
        """
        counts = self._routes.get(route)
        if counts is not None:
            for (_, status), answered in counts.answered.items():
                yield status, answered.count, answered.seconds

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """The sums as they are now; a scrape may run in a thread of its own, so on copies."""
        requests = CounterMetricFamily(
            "image_gateway_requests",
            "Requests answered, by route ('admin:…' on the admin port), how the image was delivered, and status.",
            labels=("route", "delivery", "status"),
        )
        routes = list(self._routes.items())
        for name, route in routes:
            for key, answered in list(route.answered.items()):
                requests.add_metric((name, *key), answered.count)
        yield requests
        yield self._family(
            "image_gateway_request_duration_seconds",
            "Time from the request line to the last byte sent.",
            {name: route.durations for name, route in routes},
        )
        yield self._family(
            "image_gateway_time_to_first_byte_seconds",
            "Time from the request line to the first byte of the answer.",
            {name: route.first_bytes for name, route in routes},
        )

    def describe(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """The names, so that no other collector can take them."""
        return RequestMetrics(self._bounds).collect()

    def _family(self, name: str, documentation: str, by_route: dict[str, Distribution]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, documentation, labels=("route",))
        for route, distribution in by_route.items():
            buckets: list[tuple[str, float]] = []
            so_far = 0
            for bound, count in zip((*self._bounds, float("inf")), list(distribution.counts), strict=True):
                so_far += count
                buckets.append((_spelled(bound), so_far))
            family.add_metric((route,), buckets, distribution.total)
        return family
