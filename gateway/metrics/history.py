"""The last day in memory: a point every five seconds for 15 minutes, and every minute for 24 hours."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.metrics.loop_counters import ABORTED, LoopCounter, LoopHistogram, RequestMetrics
from gateway.metrics.recent_errors import RecentErrors
from gateway.metrics.registry import CountedElsewhere

INTERVAL: Final = 5.0  # seconds between two fine points
MISDIRECTED: Final = "nginx_misdirected"  # the name of this count
_FINE_IN_A_COARSE: Final = 12
_MOST_FINE: Final = 180
_MOST_COARSE: Final = 1440
# The names of the routes that send the bytes of an image.
BYTES_ROUTES: Final = ("proxy", "short", "alias")
_QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of this process's counters: totals since its start, and durations of image requests by bucket."""

    at: float
    counts: "Counter[str]"
    durations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A point in the console's charts: counts of the ``span`` seconds before ``at`` (Unix seconds), no zeros.

    ``quantiles``: the durations in seconds below which 50, 95 and 99 % of the requests stayed. None without a request.
    """

    at: float
    span: float
    counts: Mapping[str, int]
    quantiles: tuple[float, ...] | None

    @property
    def requests(self) -> int:
        """The number of requests for images."""
        return sum(count for name, count in self.counts.items() if name.startswith("status "))

    @property
    def failed(self) -> int:
        """The number of requests for images that ended with a 5xx or an aborted transfer."""
        failures = ("status 5", f"status {ABORTED}")
        return sum(count for name, count in self.counts.items() if name.startswith(failures))

    def as_json(self) -> dict[str, Any]:
        span = max(0.001, round(self.span, 3))  # the page divides by it
        return {"at": self.at, "span": span, "counts": dict(self.counts), "quantiles": self.quantiles}


class Points:
    """The points of the console's charts, each made from two readings of the counters.

    start: the first reading.
    bounds: the upper bounds of the buckets of durations, in seconds.
    fine, coarse: the points of five seconds and of a minute, the oldest first.
    """

    def __init__(self, start: Reading, bounds: Sequence[float]) -> None:
        self._last = self._minute = start
        self._bounds = bounds
        self._until_coarse = _FINE_IN_A_COARSE
        self.fine: deque[Point] = deque(maxlen=_MOST_FINE)
        self.coarse: deque[Point] = deque(maxlen=_MOST_COARSE)

    def add(self, reading: Reading) -> Point:
        """Add and return the point that ends with the reading. Every twelfth point also ends a minute."""
        point = between(self._last, reading, self._bounds)
        self.fine.append(point)
        self._last = reading
        self._until_coarse -= 1
        if self._until_coarse == 0:
            self.coarse.append(between(self._minute, reading, self._bounds))
            self._minute, self._until_coarse = reading, _FINE_IN_A_COARSE
        return point

    def as_json(self, since: float) -> dict[str, list[dict[str, Any]]]:
        """Return the points that end after ``since``, for the console."""
        kinds = {"fine": self.fine, "coarse": self.coarse}
        return {name: [point.as_json() for point in points if point.at > since] for name, points in kinds.items()}


@dataclass(frozen=True, slots=True)
class Counted:
    """The metrics whose totals the history of the console keeps. ``counters``: each with the prefix of its names."""

    requests: RequestMetrics
    errors: RecentErrors
    counters: Sequence[tuple[str, LoopCounter | LoopHistogram]]
    dropped_lines: CountedElsewhere

    def read(self, now: float) -> Reading:
        """Return the totals at ``now``. Labels are closed sets, so the number of totals is bounded."""
        counts: Counter[str] = Counter({f"error {code}": number for code, number in self.errors.totals().items()})
        for kind, routes in (("status", BYTES_ROUTES), ("access", ("access",))):
            for status, number, _ in self.requests.totals(routes):
                counts[f"{kind} {status}"] += number
        durations = map(sum, zip(*map(self.requests.durations.counts, BYTES_ROUTES), strict=True))
        for name, counter in self.counters:
            for values, number in counter.totals().items():
                counts[" ".join((name, *values))] += number
        counts["log_lines_dropped"] = self.dropped_lines.count()
        return Reading(now, counts, tuple(durations))


class History(Points):
    """Records the console's chart points of this process's last day from totals, so that requests cost no more."""

    def __init__(self, counted: Counted, now: float) -> None:
        super().__init__(counted.read(now), counted.requests.durations.bounds)
        self._counted = counted

    def record(self, now: float) -> Point:
        return self.add(self._counted.read(now))


def total(points: Sequence[Point]) -> "Counter[str]":
    counts: Counter[str] = Counter()
    for point in points:
        counts.update(point.counts)
    return counts


def between(start: Reading, end: Reading, bounds: Sequence[float]) -> Point:
    durations = [after - before for before, after in zip(start.durations, end.durations, strict=True)]
    seconds = tuple(_quantile(share, durations, bounds) for share in _QUANTILES) if any(durations) else None
    return Point(end.at, end.at - start.at, end.counts - start.counts, seconds)


def _quantile(share: float, counts: Sequence[int], bounds: Sequence[float]) -> float:
    """Interpolate within the bucket, as Prometheus's ``histogram_quantile`` does. Return at most the last bound."""
    rank, lower = share * sum(counts), 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and rank <= count:
            return round(lower + (bound - lower) * rank / count, 6)
        rank -= count
        lower = bound
    return bounds[-1]
