"""A fault of the gateway by name, since when it is seen, and the faults of several replicas together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import Field

Level = Literal["bad", "warning"]
Value = str | int | float  # a name or a number in the sentence

_NAME: Final = r"^[a-z_]{1,40}$"
_MOST_VALUES: Final = 8

# How the numbers of several replicas become one number, by fault. For any other fault, the largest number counts: most
# such numbers are read in one place, such as the length of a queue.
_COMBINE: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    **dict.fromkeys(("requests_fail", "cos_refuses", "cos_errors", "bucket_slow"), sum),
    **dict.fromkeys(("objects_missing", "objects_unprocessable"), sum),
    **dict.fromkeys(("nginx_silent", "credentials_end"), min),
    "clock_differs": partial(max, key=abs),
}

_OF_QUEUES: Final = frozenset({"purges_dead", "purges_late", "renewals_dead", "renewals_late"})
# What another fault causes: it comes after the faults of its level, since the headline names the cause.
_EFFECTS: Final = _OF_QUEUES | {"answers_changed", "answers_mostly", "canary_fails", "requests_fail"}
_OF_COS: Final = frozenset({"cos_refuses", "cos_errors"})


@dataclass(frozen=True, slots=True)
class Symptom:
    """A fault of the gateway by name, with the numbers and names that the console inserts into the operator's sentence.

    ``since``: when the fault was first seen, in Unix seconds. None: not known.
    """

    name: Annotated[str, Field(pattern=_NAME)]
    level: Level
    values: Annotated[Mapping[Annotated[str, Field(pattern=_NAME)], Value], Field(max_length=_MOST_VALUES)] = field(
        default_factory=dict
    )
    since: float | None = None

    @property
    def fault(self) -> tuple[str, ...]:
        """What makes it the same fault as another symptom: the name, and the names in its sentence."""
        return (self.name, *(f"{key}={text}" for key, text in sorted(self.values.items()) if isinstance(text, str)))

    @property
    def order(self) -> tuple[bool, bool]:
        """The key of the order of the page: the worst first, and causes before effects."""
        return (self.level != "bad", self.name in _EFFECTS)

    def names_cause_of(self, other: "Symptom") -> bool:
        """Return whether the other symptom is of the same cause, and says less about it."""
        if other.name in ("dependency_down", "dependency_degraded"):
            return other.values["dependency"] == "cos" and self.name in {*_OF_COS, "credentials_ended"}
        if other.name in {*_OF_COS, "bucket_paused"}:
            return self.name in _OF_COS and self.values["bucket"] == other.values["bucket"]
        return self.name == "nginx_asks_wrong_port" and other.name == "nginx_unheard"


class SymptomLog:
    """Remembers since when each fault of the gateway has been seen.

    A fault that was absent in between begins anew. So does a fault that gets bad: a few errors before an outage are not
    its beginning.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, ...], float] = {}
        self._bad_since: dict[tuple[str, ...], float] = {}

    def note(self, symptoms: Sequence[Symptom], now: float) -> list[Symptom]:
        """Return the current symptoms with the times since when they are seen."""
        self._since = {symptom.fault: self._since.get(symptom.fault, now) for symptom in symptoms}
        bad = [symptom.fault for symptom in symptoms if symptom.level == "bad"]
        self._bad_since = {fault: self._bad_since.get(fault, now) for fault in bad}
        began = self._since | self._bad_since
        return [replace(symptom, since=began[symptom.fault]) for symptom in symptoms]


def together(by_replica: Mapping[str, Iterable[Symptom]]) -> list[dict[str, Any]]:
    """Return each fault of all replicas for the console in the order of the page, with the names of its replicas.

    Of the faults with one cause, the fault that names the cause stands for all, with their worst level.
    """
    replicas: dict[tuple[str, ...], dict[str, Symptom]] = {}
    for replica, symptoms in by_replica.items():
        for symptom in symptoms:
            replicas.setdefault(symptom.fault, {})[replica] = symptom
    faults = sorted((_one_of(list(seen.values())) for seen in replicas.values()), key=lambda fault: fault.order)
    causes: list[Symptom] = []
    for fault in faults:
        if not any(cause.names_cause_of(fault) for cause in causes):
            causes = [*(cause for cause in causes if not fault.names_cause_of(cause)), fault]
    shown: list[tuple[Symptom, set[str]]] = []
    for cause in causes:
        same = [cause, *(fault for fault in faults if cause.names_cause_of(fault))]
        level, since = _worst(same)
        names = {name for fault in same for name in replicas[fault.fault]}
        shown.append((replace(cause, level=level, since=since), names))
    shown.sort(key=lambda cause: cause[0].order)
    return [{**asdict(cause), "replicas": sorted(names)} for cause, names in shown]


def _one_of(symptoms: Sequence[Symptom]) -> Symptom:
    """Combine the symptoms of a fault into a symptom with the worst level and the earliest time."""
    first = symptoms[0]
    combine = _COMBINE.get(first.name, max)
    numbers = {
        key: combine([number for symptom in symptoms if isinstance(number := symptom.values.get(key), int | float)])
        for key, value in first.values.items()
        if not isinstance(value, str)
    }
    level, since = _worst(symptoms)
    return Symptom(first.name, level, {**first.values, **numbers}, since)


def _worst(symptoms: Sequence[Symptom]) -> tuple[Level, float | None]:
    """Return the worst level, and the earliest time of the symptoms that have it."""
    level: Level = "bad" if any(symptom.level == "bad" for symptom in symptoms) else "warning"
    times = [symptom.since for symptom in symptoms if symptom.level == level and symptom.since is not None]
    return level, min(times, default=None)
