"""A fault of the gateway by name, since when it is seen, and the faults of several replicas together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

Level = Literal["bad", "warning"]
Value = str | int | float  # a name or a number in the sentence

_NAME: Final = r"^[a-z_]{1,40}$"
_MOST_VALUES: Final = 8


def _farthest(values: Iterable[float]) -> float:
    return max(values, key=abs)


# How the numbers of several replicas become one number. For any other name, the largest number counts: most such
# numbers are read in one place, such as the length of a queue.
_RULES: Final[Mapping[tuple[str, str], Callable[[Iterable[float]], float]]] = {
    ("requests_fail", "failed"): sum,
    ("requests_fail", "requests"): sum,
    ("cos_refuses", "count"): sum,
    ("cos_errors", "count"): sum,
    ("objects_missing", "count"): sum,
    ("credentials_end", "seconds"): min,
    ("clock_differs", "seconds"): _farthest,
}

# What another fault causes: it comes after the faults of its level, since the headline names the cause.
_EFFECTS: Final = frozenset(
    {"canary_fails", "requests_fail", "renewals_late", "renewals_dead", "purges_late", "purges_dead"}
)


@dataclass(frozen=True, slots=True)
class Symptom:
    """A fault by name, with the numbers and names that the page inserts into the sentence of its language.

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

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "level": self.level, "values": dict(self.values), "since": self.since}


class SymptomLog:
    """Notes since when each fault is seen. A fault that was absent in between begins anew."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, ...], float] = {}

    def note(self, symptoms: Sequence[Symptom], now: float) -> list[Symptom]:
        """Return the current symptoms with the times since when they are seen."""
        self._since = {symptom.fault: self._since.get(symptom.fault, now) for symptom in symptoms}
        return [replace(symptom, since=self._since[symptom.fault]) for symptom in symptoms]


def together(by_replica: Mapping[str, Iterable[Symptom]]) -> list[dict[str, Any]]:
    """Return each fault of all replicas for the console in the order of the page, with the names of its replicas."""
    seen: dict[tuple[str, ...], dict[str, Symptom]] = {}
    for replica, symptoms in by_replica.items():
        for symptom in symptoms:
            seen.setdefault(symptom.fault, {})[replica] = symptom
    found = [(_one_of(list(each.values())), list(each)) for each in seen.values()]
    found.sort(key=lambda fault: fault[0].order)
    return [{**symptom.as_json(), "replicas": replicas} for symptom, replicas in found]


def _one_of(symptoms: Sequence[Symptom]) -> Symptom:
    """Combine the symptoms of a fault into a symptom with the worst level and the earliest time."""
    first = symptoms[0]
    numbers = {
        key: _RULES.get((first.name, key), max)(
            [number for symptom in symptoms if isinstance(number := symptom.values.get(key), int | float)]
        )
        for key, value in first.values.items()
        if not isinstance(value, str)
    }
    times = [symptom.since for symptom in symptoms if symptom.since is not None]
    level: Level = "bad" if any(symptom.level == "bad" for symptom in symptoms) else "warning"
    return Symptom(first.name, level, {**first.values, **numbers}, min(times, default=None))
