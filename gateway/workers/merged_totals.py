"""What all workers did together: the points of the console's charts, the latest errors, and problems with nginx.

The supervisor reads the totals of each worker every five seconds. The totals of a worker that has ended stay in the
sum, as they were when they were last read.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from gateway.metrics.history import Points, Reading
from gateway.metrics.nginx_last_asked import nginx_symptoms
from gateway.metrics.symptom import Symptom
from gateway.workers.merged_metrics import Ended

TOTALS: Final = "/api/v1/monitoring/totals"


class _Error(BaseModel):
    model_config = ConfigDict(extra="allow")

    code: str
    count: int
    at: float


class _Nginx(BaseModel):
    asked: dict[str, float]
    cache_seconds: float | None


class Totals(BaseModel):
    """The counts of a worker since its start, or the sum of several.

    bounds: the upper bounds of the buckets of ``durations``, in seconds.
    nginx: what the worker hears of each nginx: it asks the supervisor, which asks one of the workers.
    """

    bounds: tuple[float, ...]
    counts: dict[str, int]
    durations: tuple[int, ...]
    errors: tuple[_Error, ...]
    nginx: _Nginx | None = None

    def reading(self, at: float) -> Reading:
        return Reading(at, Counter(self.counts), self.durations)


class MergedTotals:
    """``read`` the totals of each worker, then ``record`` a point. ``now``: Unix seconds."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._first_question = time.monotonic()
        self._points: Points | None = None
        self._last: dict[Ended, Totals] = {}
        self._ended = Totals(bounds=(), counts={}, durations=(), errors=())

    def read(self, worker: Ended, totals: Totals) -> None:
        """Remember the totals of a worker. Totals with other bounds, as of another version, are left out."""
        if self._points is None:
            self._ended = Totals(bounds=totals.bounds, counts={}, durations=(0,) * (len(totals.bounds) + 1), errors=())
            self._points = Points(self._ended.reading(self._started), totals.bounds)
        if totals.bounds == self._ended.bounds and len(totals.durations) == len(self._ended.durations):
            self._last[worker] = totals

    def record(self, now: float) -> None:
        """Add the point that ends at ``now`` (Unix seconds). Add no point before the first totals were read."""
        for worker in [worker for worker in self._last if worker.ended.is_set()]:
            self._ended = _sum((self._ended, self._last.pop(worker)))
        if self._points is not None:
            self._points.add(self._total().reading(now))

    def replace(self, data: Mapping[str, Any], since: float) -> Mapping[str, Any]:
        """Return what the console gets from a worker, with the points after ``since`` and the errors of all workers."""
        if self._points is None:
            return data
        fine, coarse = self._points.fine(since), self._points.coarse(since)
        points = {"fine": [point.as_json() for point in fine], "coarse": [point.as_json() for point in coarse]}
        return {**data, "points": points, "errors": [error.model_dump() for error in self._total().errors]}

    def nginx_symptoms(self) -> list[Symptom]:
        """Return the problems with nginx by what all running workers heard of it."""
        heard = [totals.nginx for worker, totals in self._last.items() if totals.nginx and not worker.ended.is_set()]
        asked: dict[str, float] = {}
        for nginx in heard:
            asked |= {name: min(seconds, asked.get(name, seconds)) for name, seconds in nginx.asked.items()}
        used = [nginx.cache_seconds for nginx in heard if nginx.cache_seconds is not None]
        return nginx_symptoms(asked, min(used, default=None), time.monotonic() - self._first_question)

    def _total(self) -> Totals:
        return _sum((self._ended, *self._last.values()))


def _sum(parts: Iterable[Totals]) -> Totals:
    """Return the sum of totals with the same bounds. Of the errors with a code the latest is kept, the latest first."""
    first, *others = parts
    counts, durations, found = Counter(first.counts), first.durations, list(first.errors)
    for other in others:
        counts.update(other.counts)
        durations = tuple(map(sum, zip(durations, other.durations, strict=True)))
        found += other.errors
    errors: dict[str, _Error] = {}
    for error in sorted(found, key=lambda error: error.at):
        before = errors.pop(error.code).count if error.code in errors else 0
        errors[error.code] = error.model_copy(update={"count": before + error.count})
    return Totals(bounds=first.bounds, counts=counts, durations=durations, errors=tuple(reversed(errors.values())))
