"""Lock-free counters of the event loop's thread, for metrics that every request updates.

``prometheus_client`` takes a lock and walks the buckets for each observation. Four such observations cost a fifth of
the time that a response from memory takes.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, product
from operator import add

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


def _bound_label(bound: float) -> str:
    """Return the ``le`` label of a bucket, as Prometheus spells it."""
    return "+Inf" if bound == float("inf") else str(float(bound))


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return the cumulative buckets of Prometheus. The last element of ``counts`` is for what exceeds all bounds."""
    labels = map(_bound_label, (*bounds, float("inf")))
    return list(zip(labels, accumulate(counts), strict=True))


class Distribution:
    """The number of observations in each bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one observation."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class LoopCounter(Collector):
    """A counter that only the loop's thread updates. ``labels`` are names, and each ``add`` passes their values."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._counts: defaultdict[tuple[str, ...], int] = defaultdict(int, {} if labels else {(): 0})

    def add(self, values: tuple[str, ...] = (), amount: int = 1) -> None:
        """Add ``amount`` to the count of these label values."""
        self._counts[values] += amount

    def total(self, values: tuple[str, ...] = ()) -> int:
        """Return the count of these label values."""
        return self._counts.get(values, 0)

    def totals(self) -> dict[tuple[str, ...], int]:
        """Return a copy of all counts by label values."""
        return dict(self._counts)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the current counts, from a copy: a scrape runs in another thread."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count)
        yield family

    describe = collect  # so the registry refuses another collector of this name


class LoopTotal(Collector):
    """The sum of a ``LoopCounter`` over all its labels, under another name."""

    def __init__(self, name: str, documentation: str, counter: LoopCounter) -> None:
        self._name = name
        self._documentation = documentation
        self._counter = counter

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the current sum, from a copy: a scrape runs in another thread."""
        yield CounterMetricFamily(self._name, self._documentation, value=sum(self._counter.totals().values()))

    describe = collect  # so the registry refuses another collector of this name


class MergedHistogram(Collector):
    """A histogram of observations that arrive counted by the same ``bounds``. Only the loop's thread updates it.

    labels: ``source`` or nothing. A source is absent until it is observed: most gateways have no reports of browsers.
    """

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], labels: tuple[str, ...] = ()) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = bounds
        self._labels = labels
        # Each is replaced as a whole, so that a scrape in another thread reads counts and total of the same moment.
        self._nothing: tuple[tuple[int, ...], float] = ((0,) * (len(bounds) + 1), 0.0)
        self._merged = {} if labels else {"": self._nothing}

    def merge(self, counts: Sequence[int], total: float, source: str = "") -> None:
        """Add observations.

        counts: the number in each bucket, not cumulative. The last element counts what exceeds all bounds.
        """
        known, sum_before = self._merged.get(source, self._nothing)
        self._merged[source] = tuple(map(add, known, counts)), sum_before + total

    def totals(self) -> dict[tuple[str, ...], int]:
        """Return the number in each bucket by source and by the number of the bucket, like the counts of a counter."""
        return {
            (source, str(bucket)): count
            for source, (counts, _) in self._merged.items()
            for bucket, count in enumerate(counts)
        }

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the current counts."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for source, (counts, total) in list(self._merged.items()):
            family.add_metric((source,) if self._labels else (), _cumulative(self._bounds, counts), total)
        yield family

    describe = collect  # so the registry refuses another collector of this name


class _RequestTotals:
    """The number of requests, and their duration in total."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0


class _RouteCounts:
    """The counts of a route. ``requests`` are by delivery and status."""

    __slots__ = ("durations", "first_bytes", "requests")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.requests: defaultdict[tuple[str, str], _RequestTotals] = defaultdict(_RequestTotals)
        self.durations = Distribution(bounds)
        self.first_bytes = Distribution(bounds)


class RequestMetrics(Collector):
    """Requests by route, delivery and status, and durations and times to the first byte by route."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._routes: dict[str, _RouteCounts] = {}

    def record(self, route: str, delivery: str, status: str, seconds: float, first_byte: float | None) -> None:
        """Count a finished request. ``first_byte``: the seconds to the first byte, None if no byte was sent."""
        counts = self._routes.get(route)
        if counts is None:
            counts = self._routes[route] = _RouteCounts(self.bounds)
        totals = counts.requests[delivery, status]
        totals.count += 1
        totals.seconds += seconds
        counts.durations.observe(seconds)
        if first_byte is not None:
            counts.first_bytes.observe(first_byte)

    def start_at_zero(self, routes: Iterable[str], deliveries: Iterable[str], statuses: Iterable[str]) -> None:
        """Export these series from now on, so that ``rate()`` sees their first increase."""
        for route, delivery, status in product(routes, deliveries, statuses):
            counts = self._routes.setdefault(route, _RouteCounts(self.bounds))
            counts.requests.setdefault((delivery, status), _RequestTotals())

    def totals(self, route: str) -> Iterator[tuple[str, int, float]]:
        """Yield each status of ``route`` with its number of requests and their seconds, once per delivery."""
        counts = self._routes.get(route)
        if counts is not None:
            for (_, status), totals in counts.requests.items():
                yield status, totals.count, totals.seconds

    def durations(self, route: str) -> Sequence[int]:
        """Return the number of requests of ``route`` in each bucket, and at last the number above all ``bounds``."""
        counts = self._routes.get(route)
        return tuple(counts.durations.counts) if counts is not None else (0,) * (len(self.bounds) + 1)

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Yield the current counts, from copies: a scrape runs in another thread."""
        requests = CounterMetricFamily(
            "image_gateway_requests",
            "Requests by route ('admin:…' on the admin port, 'canary:…' of the canary), by delivery, and by status.",
            labels=("route", "delivery", "status"),
        )
        routes = list(self._routes.items())
        for name, route in routes:
            for key, totals in list(route.requests.items()):
                requests.add_metric((name, *key), totals.count)
        yield requests
        yield self._family(
            "image_gateway_request_duration_seconds",
            "Time from the request line to the last byte of the response.",
            {name: route.durations for name, route in routes},
        )
        yield self._family(
            "image_gateway_time_to_first_byte_seconds",
            "Time from the request line to the first byte of the response.",
            {name: route.first_bytes for name, route in routes},
        )

    describe = collect  # so the registry refuses another collector of this name

    def _family(self, name: str, documentation: str, by_route: dict[str, Distribution]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, documentation, labels=("route",))
        for route, distribution in by_route.items():
            family.add_metric((route,), _cumulative(self.bounds, list(distribution.counts)), distribution.total)
        return family
