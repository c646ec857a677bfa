"""The points of all workers together for the console's charts, and their latest errors.

The parent reads the totals of each worker every five seconds. The totals of a worker that has ended stay in the sum, as
they were when they were last read.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from gateway.metrics.history import Points, Reading
from gateway.workers.merged_metrics import Ended

TOTALS: Final = "/api/v1/monitoring/totals"


class _Totals:
    """The counts of a worker since its start, or of several workers that have ended."""

    def __init__(self, durations: int) -> None:
        self.counts: Counter[str] = Counter()
        self.durations = [0] * durations
        self.errors: dict[str, dict[str, Any]] = {}

    def add(self, other: "_Totals") -> None:
        """Add the totals of another worker."""
        self.counts.update(other.counts)
        self.durations = [sum(pair) for pair in zip(self.durations, other.durations, strict=True)]
        for code, error in other.errors.items():
            known = self.errors.get(code, error | {"count": 0})
            latest = max(known, error, key=lambda entry: float(entry["at"]))
            self.errors[code] = latest | {"count": known["count"] + error["count"]}


class MergedHistory:
    """Points of the totals of workers: ``read`` each of them, then ``record``."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._bounds: tuple[float, ...] = ()
        self._points: Points | None = None
        self._last: dict[Ended, _Totals] = {}
        self._ended = _Totals(0)

    def read(self, worker: Ended, body: bytes) -> None:
        """Remember the totals in the answer of a worker. An answer that this version cannot read is ignored.

        While workers are replaced by workers of another version, the answers of both versions are read.
        """
        try:
            data = json.loads(body)["data"]
            bounds = tuple(float(bound) for bound in data["bounds"])
            totals = _Totals(0)
            totals.counts.update({str(name): int(count) for name, count in data["counts"].items()})
            totals.durations = [int(count) for count in data["durations"]]
            totals.errors = {str(error["code"]): _error(error) for error in data["errors"]}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return
        if self._points is None:
            self._bounds = bounds
            self._ended = _Totals(len(bounds) + 1)
            self._points = Points(self._reading(self._started), bounds)
        if bounds == self._bounds and len(totals.durations) == len(bounds) + 1:
            self._last[worker] = totals

    def record(self, now: float) -> None:
        """Add the point that ends at ``now`` (Unix seconds). Add no point before the first totals were read."""
        for worker in [worker for worker in self._last if worker.ended.is_set()]:
            self._ended.add(self._last.pop(worker))
        if self._points is not None:
            self._points.add(self._reading(now))

    def replace(self, data: Mapping[str, Any], since: float) -> Mapping[str, Any]:
        """Return what the console gets from a worker, with the points after ``since`` and the errors of all workers."""
        if self._points is None:
            return data
        errors = sorted(self._total().errors.values(), key=lambda error: -float(error["at"]))
        fine, coarse = self._points.fine(since), self._points.coarse(since)
        points = {"fine": [point.as_json() for point in fine], "coarse": [point.as_json() for point in coarse]}
        return {**data, "points": points, "errors": errors}

    def _total(self) -> _Totals:
        total = _Totals(len(self._bounds) + 1)
        for totals in (self._ended, *self._last.values()):
            total.add(totals)
        return total

    def _reading(self, at: float) -> Reading:
        total = self._total()
        return Reading(at, total.counts, tuple(total.durations))


def _error(error: Mapping[str, Any]) -> dict[str, Any]:
    return {**error, "count": int(error["count"]), "at": float(error["at"])}
