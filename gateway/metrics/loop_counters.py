"""Lock-free counters of the event loop's thread, for metrics that every request updates.

``prometheus_client`` takes a lock and walks the buckets for each observation. Four such observations cost a fifth of
the time that a response from memory takes.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, product
from operator import add
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

ABORTED: Final = "aborted"  # counted in place of a status if the connection was reset after sending one
# The statuses of requests that may name no existing image; 401 is the same whether the image exists or not.
_NO_IMAGE: Final = frozenset({"400", "401", "404", "405"})


class NamedCollector(Collector):
    """A Prometheus collector with fixed metric names, so that a registry refuses another collector with these names."""

    def describe(self) -> Iterable[Metric]:
        return self.collect()


class LoopCounter(NamedCollector):
    """A counter that only the event loop's thread updates. ``labels``: label names. Each ``add`` has the values."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._counts: defaultdict[tuple[str, ...], int] = defaultdict(int, {} if labels else {(): 0})

    def add(self, values: tuple[str, ...] = (), amount: int = 1) -> None:
        self._counts[values] += amount

    def total(self, values: tuple[str, ...] = ()) -> int:
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


@dataclass(slots=True)
class _Observations:
    """The state of a histogram: the observations in each bucket, and their sum. The last bucket has no upper bound."""

    counts: list[int]
    total: float = 0.0


class LoopHistogram(NamedCollector):
    """A histogram with one label, or none, that only the event loop's thread updates.

    labels: the name of the label, or nothing. A value of the label is absent until it is observed.
    """

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], labels: tuple[str, ...] = ()) -> None:
        self._name = name
        self._documentation = documentation
        self.bounds = bounds
        self._labels = labels
        self._observed: dict[str, _Observations] = {}
        if not labels:
            self.start("")

    def start(self, label: str) -> _Observations:
        """Return the observations of this value of the label, which is exported from now on."""
        return self._observed.setdefault(label, _Observations([0] * (len(self.bounds) + 1)))

    def observe(self, value: float, label: str = "") -> None:
        observed = self._observed.get(label) or self.start(label)
        observed.counts[bisect_left(self.bounds, value)] += 1
        observed.total += value

    def merge(self, counts: Sequence[int], total: float, label: str = "") -> None:
        """Add observations that were counted by the same bounds: the number in each bucket, not cumulative."""
        known = self.start(label)
        # Replaced as a whole, so that a scrape in another thread reads counts and total of the same moment.
        self._observed[label] = _Observations(list(map(add, known.counts, counts)), known.total + total)

    def counts(self, label: str = "") -> Sequence[int]:
        """Return the number in each bucket, and at last the number above all ``bounds``."""
        observed = self._observed.get(label)
        return tuple(observed.counts) if observed is not None else (0,) * (len(self.bounds) + 1)

    def totals(self) -> dict[tuple[str, ...], int]:
        """Return the number in each bucket by label and by the number of the bucket, like the counts of a counter."""
        return {(label, str(at)): count for label in self._observed for at, count in enumerate(self.counts(label))}

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the current counts, from copies: a scrape runs in another thread."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        ends = [*(str(float(bound)) for bound in self.bounds), "+Inf"]  # as Prometheus spells them
        for label, observed in list(self._observed.items()):
            buckets = list(zip(ends, accumulate(list(observed.counts)), strict=True))
            family.add_metric((label,) if self._labels else (), buckets, observed.total)
        yield family


@dataclass(slots=True)
class _Requests:
    """The number of clients' requests of one kind, and the seconds that they took together."""

    count: int = 0
    seconds: float = 0.0


class RequestTotals(NamedTuple):
    """Clients' requests since the start: all, those with a 5xx or an aborted transfer, and their total duration."""

    requests: int
    errors: int
    milliseconds: int


class RequestMetrics(NamedCollector):
    """Metrics of clients' requests: counts by route, delivery and status; durations and first bytes by route."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._requests: defaultdict[tuple[str, str, str], _Requests] = defaultdict(_Requests)
        by_route = partial(LoopHistogram, bounds=bounds, labels=("route",))
        self.durations = by_route(
            "image_gateway_request_duration_seconds", "Time from the request line to the last byte of the response."
        )
        self._first_bytes = by_route(
            "image_gateway_time_to_first_byte_seconds", "Time from the request line to the first byte of the response."
        )

    def record(self, route: str, delivery: str, status: str, seconds: float, first_byte: float | None) -> None:
        """Count a finished request. ``first_byte``: the seconds to the first byte, None if no byte was sent."""
        requests = self._requests[route, delivery, status]
        requests.count += 1
        requests.seconds += seconds
        self.durations.observe(seconds, route)
        if first_byte is not None:
            self._first_bytes.observe(first_byte, route)

    def start_at_zero(self, routes: Iterable[str], deliveries: Iterable[str], statuses: Iterable[str]) -> None:
        """Export these series from now on, so that ``rate()`` sees their first increase."""
        for key in product(routes, deliveries, statuses):
            self._requests.setdefault(key, _Requests())
            self.durations.start(key[0])
            self._first_bytes.start(key[0])

    def totals(self, routes: Collection[str]) -> Iterator[tuple[str, int, float]]:
        """Yield each status of the routes with its number of requests and their seconds, once per delivery."""
        for (route, _, status), requests in self._requests.items():
            if route in routes:
                yield status, requests.count, requests.seconds

    def of_images(self, routes: Collection[str]) -> RequestTotals:
        """Return the totals of the routes, which each serve a single image, without requests that may name no image."""
        found = [total for total in self.totals(routes) if total[0] not in _NO_IMAGE]
        failed = (count for status, count, _ in found if status.startswith("5") or status == ABORTED)
        seconds = sum(seconds for _, _, seconds in found)
        return RequestTotals(sum(count for _, count, _ in found), sum(failed), int(1000 * seconds))

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Yield the current counts, from copies: a scrape runs in another thread."""
        family = CounterMetricFamily(
            "image_gateway_requests",
            "Requests by route ('admin:…' on the admin port, 'canary:…' of the canary), by delivery, and by status.",
            labels=("route", "delivery", "status"),
        )
        for key, requests in list(self._requests.items()):
            family.add_metric(key, requests.count)
        yield family
        yield from self.durations.collect()
        yield from self._first_bytes.collect()
