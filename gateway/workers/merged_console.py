"""What the console shows of all workers together: lights, problems, replicas, charts and the latest errors.

The totals of a worker that has ended stay in the sum, as they were when they were last read.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from gateway.findings.finding import Finding, together
from gateway.metrics.events import Event, events_in
from gateway.metrics.history import Points, Reading
from gateway.metrics.nginx_last_asked import nginx_symptoms
from gateway.workers.merged_readiness import NOT_READY, STATES, overall

TOTALS: Final = "/api/v1/monitoring/totals"
_ENDS: Final = ("ok", "ending", "ended")  # states of credentials, the worst last


class _Kept(BaseModel):
    """A part of a worker's answer; fields that are not declared here are passed on as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Dependency(_Kept):
    name: str
    state: Literal["ok", "degraded", "down"]


class _Credentials(_Kept):
    source: str
    buckets: tuple[str, ...]
    state: Literal["ok", "ending", "ended"]


class _Nginx(_Kept):
    name: str
    seconds: float


class _Replica(_Kept):
    name: str
    symptoms: tuple[Finding, ...]
    events: Any = ()


class WorkerState(_Kept):
    """A worker's state, as it answers for the console. ``replica`` is its own name, ``replicas`` all that it knows."""

    replica: str
    replicas: tuple[_Replica, ...]
    status: Literal["not_ready", "degraded", "ready"]
    dependencies: tuple[_Dependency, ...]
    credentials: tuple[_Credentials, ...]
    clock_difference: float
    nginx: tuple[_Nginx, ...] = ()


def merged_console(states: Sequence[WorkerState], missing: int, own: Mapping[str, Sequence[Finding]]) -> dict[str, Any]:
    """Return what replaces the answer of a worker. ``states`` is not empty; ``missing`` workers have no state.

    Each worker knows itself best: of other replicas it knows what they have published. ``own``: the supervisor's
    symptoms, by its name.
    """
    replicas = {row.name: row for state in states for row in state.replicas}
    replicas |= {row.name: row for state in states for row in state.replicas if row.name == state.replica}
    names = sorted(replicas)
    return {
        "status": overall([*(state.status for state in states), *[NOT_READY] * missing]),
        "symptoms": together({name: replicas[name].symptoms for name in names} | dict(own)),
        "dependencies": _worst_dependencies(states),
        "credentials": _worst_credentials(states),
        "clock_difference": max((state.clock_difference for state in states), key=abs),
        "replicas": [replicas[name].model_dump() for name in names],
        "nginx": _last_asked(states),
    }


def events_of(states: Sequence[WorkerState]) -> list[tuple[str | None, Event]]:
    """Return the events of the workers, and those of other replicas with their names."""
    own = {state.replica for state in states}
    rows = [row for state in states for row in state.replicas]
    return [(None if row.name in own else row.name, event) for row in rows for event in events_in(row.events)]


def _worst_dependencies(states: Sequence[WorkerState]) -> list[Mapping[str, Any]]:
    lights = [light for state in states for light in state.dependencies]
    worst = {light.name: light for light in sorted(lights, key=lambda light: STATES.index(light.state))}
    return [light.model_dump() for light in worst.values()]


def _worst_credentials(states: Sequence[WorkerState]) -> list[Mapping[str, Any]]:
    sources = [source for state in states for source in state.credentials]
    ordered = sorted(sources, key=lambda source: _ENDS.index(source.state))
    return [source.model_dump() for source in {(source.source, source.buckets): source for source in ordered}.values()]


def _last_asked(states: Sequence[WorkerState]) -> list[Mapping[str, Any]]:
    """Return each nginx once, with its last question: it asks one of the workers."""
    askers = sorted((asker for state in states for asker in state.nginx), key=lambda asker: -asker.seconds)
    last = {asker.name: asker for asker in askers}
    return [last[name].model_dump() for name in sorted(last)]


class _Error(_Kept):
    code: str
    count: int
    at: float


class _HeardOfNginx(BaseModel):
    asked: dict[str, float]
    cache_seconds: float | None


class Totals(BaseModel):
    """The counts of a worker since its start, or the sum of several workers' counts.

    bounds: the upper bounds of the buckets of ``durations``, in seconds.
    nginx: what the worker hears of each nginx: it asks the supervisor, which asks one of the workers.
    """

    bounds: tuple[float, ...]
    counts: dict[str, int]
    durations: tuple[int, ...]
    errors: tuple[_Error, ...]
    nginx: _HeardOfNginx | None = None

    def reading(self, at: float) -> Reading:
        return Reading(at, Counter(self.counts), self.durations)


class MergedTotals:
    """Adds up the totals of all workers: ``read`` each worker's, then ``record`` a point of the charts."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._first_question = time.monotonic()
        self._points: Points | None = None
        self._last: dict[asyncio.Event, Totals] = {}  # by the event of the end of the worker
        self._ended = Totals(bounds=(), counts={}, durations=(), errors=())

    def read(self, ended: asyncio.Event, totals: Totals) -> None:
        """Remember the totals of the worker whose end sets ``ended``. Leave out other bounds, as of another version."""
        if self._points is None:
            self._ended = Totals(bounds=totals.bounds, counts={}, durations=(0,) * (len(totals.bounds) + 1), errors=())
            self._points = Points(self._ended.reading(self._started), totals.bounds)
        if totals.bounds == self._ended.bounds and len(totals.durations) == len(self._ended.durations):
            self._last[ended] = totals

    def record(self, now: float) -> None:
        """Add the point that ends at ``now`` (Unix seconds). Add no point before the first totals were read."""
        for ended in [ended for ended in self._last if ended.is_set()]:
            self._ended = _sum((self._ended, self._last.pop(ended)))
        if self._points is not None:
            self._points.add(self._total().reading(now))

    def replace(self, data: Mapping[str, Any], since: float) -> Mapping[str, Any]:
        """Return what the console gets from a worker, with the points after ``since`` and the errors of all workers."""
        if self._points is None:
            return data
        errors = [error.model_dump() for error in self._total().errors]
        return {**data, "points": self._points.as_json(since), "errors": errors}

    def nginx_symptoms(self) -> list[Finding]:
        """Return the problems with nginx by what all running workers heard of it."""
        heard = [totals.nginx for ended, totals in self._last.items() if totals.nginx and not ended.is_set()]
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
