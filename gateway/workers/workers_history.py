"""The console's charts and latest errors of all workers together: what one worker counts is a share of them."""

from collections import Counter
from dataclasses import asdict
from typing import Any, Final
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from gateway.metrics.history import Points, Reading
from gateway.metrics.recent_errors import RecentError
from gateway.workers.worker import Worker

TOTALS: Final = "/api/v1/monitoring/totals"


class Totals(BaseModel):
    """The counts of a worker since its start. ``bounds``: of the buckets of ``durations``, in seconds."""

    bounds: tuple[float, ...]
    counts: dict[str, int]
    durations: tuple[int, ...]
    errors: tuple[RecentError, ...]


class WorkersHistory:
    """Adds up what workers count: ``read`` the totals of each, then ``record`` a point of the charts.

    start: Unix seconds.
    """

    def __init__(self, start: float) -> None:
        self._start = start
        self._points: Points | None = None
        self._zero = Totals(bounds=(), counts={}, durations=(), errors=())
        self._counts: Counter[str] = Counter()
        self._durations: tuple[int, ...] = ()
        self._errors: dict[str, RecentError] = {}
        self._last: WeakKeyDictionary[Worker, Totals] = WeakKeyDictionary()

    def read(self, worker: Worker, totals: Totals) -> None:
        """Add what the worker has counted since it was last read. Leave out other buckets, as of another version."""
        if self._points is None:
            self._durations = (0,) * len(totals.durations)
            self._zero = Totals(bounds=totals.bounds, counts={}, durations=self._durations, errors=())
            self._points = Points(Reading(self._start, Counter(), self._durations), totals.bounds)
        if totals.bounds != self._zero.bounds or len(totals.durations) != len(self._durations):
            return
        before = self._last.get(worker, self._zero)
        self._last[worker] = totals
        self._counts.update(totals.counts)
        self._counts.subtract(before.counts)
        added = zip(self._durations, totals.durations, before.durations, strict=True)
        self._durations = tuple(known + after - earlier for known, after, earlier in added)
        counted = {error.code: error.count for error in before.errors}
        for error in totals.errors:
            known = self._errors.setdefault(error.code, RecentError(error.code, 0, 0.0, None))
            known.count += error.count - counted.get(error.code, 0)
            if error.at > known.at:
                known.at, known.image_id = error.at, error.image_id

    def record(self, now: float) -> None:
        """Add the point that ends at ``now`` (Unix seconds). Add no point before the first totals were read."""
        if self._points is not None:
            self._points.add(Reading(now, self._counts.copy(), self._durations))

    def shown(self, since: float) -> dict[str, Any]:
        """Return what replaces a worker's own charts and errors: points after ``since``, the latest error first."""
        if self._points is None:
            return {}
        errors = sorted(self._errors.values(), key=lambda error: -error.at)
        return {"points": self._points.as_json(since), "errors": [asdict(error) for error in errors]}
