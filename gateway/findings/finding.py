"""A finding, and the findings of several replicas together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field

from gateway.findings.catalogue import CATALOGUE, Kind, Level, known_remedy

Number = Annotated[float, Field(allow_inf_nan=False)]
Value = str | int | Number  # a name or a number in the sentence

_NAME: Final = r"^[a-z_]{1,40}$"
_MOST_VALUES: Final = 8
_COMBINE: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "largest": max,
    "sum": sum,
    "smallest": min,
    "farthest": partial(max, key=abs),
}
_OF_COS: Final = frozenset({"cos_refuses", "cos_errors"})
_UNKNOWN: Final = Kind("ok", "", "", command="")  # all is well, or another release has found it

_Text = Annotated[str, Field(max_length=1000)]


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of ``check`` or of a running gateway: a fault that the catalogue describes, or that a part is well.

    name: of the fault, in the catalogue.
    values: the names and numbers in its sentence.
    since: when the fault was first seen, in Unix seconds. None: not known.
    where: the part that was looked at. seen: what was seen there; empty: the sentence of the catalogue says it.
    remedy: in place of the catalogue's, if this one is more exact. Empty: the catalogue's.
    stops_start: a gateway that starts now serves nothing new until the configuration or a grant changes.
    """

    name: Annotated[str, Field(pattern=_NAME)]
    level: Level
    values: Annotated[Mapping[Annotated[str, Field(pattern=_NAME)], Value], Field(max_length=_MOST_VALUES)] = field(
        default_factory=dict
    )
    since: Number | None = None
    where: _Text = ""
    seen: _Text = ""
    remedy: _Text = ""
    stops_start: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        where: str = "",
        seen: str = "",
        remedy: str = "",
        *,
        level: Level | None = None,
        stops_start: bool = False,
        **values: Value,
    ) -> "Finding":
        """Return a finding of that name of the catalogue. ``level`` None: as grave as its kind."""
        kind = CATALOGUE[name]
        stops_start |= kind.stops_start
        return cls(name, level or kind.level, values, None, where, seen, remedy, stops_start=stops_start)

    @property
    def kind(self) -> Kind:
        """What the catalogue says; without words if all is well, or if another release has found it."""
        return CATALOGUE.get(self.name, _UNKNOWN)

    @property
    def what(self) -> str:
        """What was seen, as a sentence."""
        return self.seen or self.kind.says.format_map(self.values)

    @property
    def advice(self) -> str:
        """What to do about it. Empty if all is well."""
        by_cause = known_remedy(self.place, self.what, self.name) if self.kind.by_cause else ""
        return self.remedy or by_cause or self.kind.remedy.format_map(self.values)

    @property
    def is_well(self) -> bool:
        """Whether ``check`` passes with it."""
        return self.level != "bad"

    @property
    def place(self) -> str:
        """The part of the gateway, or what is around it, that it is about. Empty: the gateway."""
        return self.where or next((value for value in self.values.values() if isinstance(value, str)), "")

    def told(self) -> dict[str, Any]:
        """Return what an operator needs to know of it, for JSON."""
        return {
            "finding": self.name,
            "level": self.level,
            "where": self.place,
            "what": self.what,
            "since": self.since,
            "remedy": self.advice,
            "command": self.kind.command,
        }

    @property
    def fault(self) -> tuple[str, ...]:
        """What makes it the same fault as another finding: the name, and the names in its sentence."""
        return (self.name, *(f"{key}={text}" for key, text in sorted(self.values.items()) if isinstance(text, str)))

    @property
    def order(self) -> tuple[bool, bool]:
        """The key of the order of the page: the worst first, and causes before effects."""
        return (self.level != "bad", self.kind.is_effect)

    def names_cause_of(self, other: "Finding") -> bool:
        """Return whether the other finding is of the same cause, and says less about it."""
        if other.name in ("dependency_down", "dependency_degraded"):
            return other.values.get("dependency") == "cos" and self.name in {*_OF_COS, "credentials_ended"}
        if other.name in {*_OF_COS, "bucket_paused"}:
            return self.name in _OF_COS and self.values.get("bucket") == other.values.get("bucket")
        return self.name == "nginx_asks_wrong_port" and other.name == "nginx_unheard"


def well(where: str, seen: str) -> Finding:
    """Return that a try of ``check`` was well."""
    return Finding("well", "ok", where=where, seen=seen)


def together(by_replica: Mapping[str, Iterable[Finding]]) -> list[dict[str, Any]]:
    """Return each fault of all replicas for the console in the order of the page, with the names of its replicas.

    Of the faults with one cause, the fault that names the cause stands for all, with their worst level.
    """
    replicas: dict[tuple[str, ...], dict[str, Finding]] = {}
    for replica, findings in by_replica.items():
        for finding in findings:
            replicas.setdefault(finding.fault, {})[replica] = finding
    faults = sorted((_one_of(list(seen.values())) for seen in replicas.values()), key=lambda fault: fault.order)
    causes: list[Finding] = []
    for fault in faults:
        if not any(cause.names_cause_of(fault) for cause in causes):
            causes = [*(cause for cause in causes if not fault.names_cause_of(cause)), fault]
    shown: list[tuple[Finding, set[str]]] = []
    for cause in causes:
        same = [cause, *(fault for fault in faults if cause.names_cause_of(fault))]
        level, since = _worst(same)
        names = {name for fault in same for name in replicas[fault.fault]}
        shown.append((replace(cause, level=level, since=since), names))
    shown.sort(key=lambda cause: cause[0].order)
    return [
        {
            "name": cause.name,
            "level": cause.level,
            "values": cause.values,
            "since": cause.since,
            "replicas": sorted(names),
        }
        for cause, names in shown
    ]


def _one_of(findings: Sequence[Finding]) -> Finding:
    """Combine the findings of a fault into a finding with the worst level and the earliest time."""
    first = findings[0]
    combine = _COMBINE[first.kind.combine]
    numbers = {
        key: combine([number for finding in findings if isinstance(number := finding.values.get(key), int | float)])
        for key, value in first.values.items()
        if not isinstance(value, str)
    }
    level, since = _worst(findings)
    return Finding(first.name, level, {**first.values, **numbers}, since)


def _worst(findings: Sequence[Finding]) -> tuple[Level, float | None]:
    """Return the worst level, and the earliest time of the findings that have it."""
    level: Level = "bad" if any(finding.level == "bad" for finding in findings) else "warning"
    times = [finding.since for finding in findings if finding.level == level and finding.since is not None]
    return level, min(times, default=None)
