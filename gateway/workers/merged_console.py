"""What the console shows of all workers together: the worst state of each dependency, the problems of all replicas."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from gateway.metrics.events import Event, events_in
from gateway.metrics.symptom import Symptom, together
from gateway.workers.merged_readiness import NOT_READY, STATES, overall

_ENDS: Final = ("ok", "ending", "ended")  # states of credentials, the worst last


class _Kept(BaseModel):
    """A part of an answer, with the fields that are passed on unseen."""

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
    symptoms: tuple[Symptom, ...]
    events: Any = ()


class WorkerState(_Kept):
    """The data that a worker has answered. ``replica`` is its own name. ``replicas`` are all that it knows."""

    replica: str
    replicas: tuple[_Replica, ...]
    status: Literal["not_ready", "degraded", "ready"]
    dependencies: tuple[_Dependency, ...]
    credentials: tuple[_Credentials, ...]
    clock_difference: float
    nginx: tuple[_Nginx, ...] = ()


def merged_console(
    states: Sequence[WorkerState], missing: int, own: Mapping[str, Sequence[Symptom]]
) -> Mapping[str, Any]:
    """Return what replaces the answer of a worker. ``states`` has at least one state.

    missing: the number of workers without a state.
    own: the symptoms that the supervisor sees itself, by its name.
    Each worker knows itself best. Of other replicas it knows what they have published.
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
