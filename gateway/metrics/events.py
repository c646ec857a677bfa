"""What has happened lately to this process, which explains a change in the charts: starts, reloads, ended workers."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from gateway.findings.finding import Number, Value

_MOST: Final = 50
MOST_SHARED: Final = 10  # with the consoles of other replicas
_SAME: Final = 60.0  # seconds within which equal events of several processes are one
_NAME: Final = r"^[a-z_]{1,40}$"


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a process for the console, like a reload. ``name``: a key of its text. ``at``: Unix seconds."""

    name: Annotated[str, Field(pattern=_NAME)]
    at: Number
    values: Annotated[Mapping[str, Value], Field(max_length=4)] = field(default_factory=dict)


class EventLog:
    """The last 50 events of a process, the oldest first."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._events: deque[Event] = deque(maxlen=_MOST)

    def add(self, name: str, **values: Value) -> None:
        self._events.append(Event(name, self._now(), values))

    def all(self) -> list[Event]:
        return list(self._events)

    def count_since(self, name: str, at: float) -> int:
        return sum(event.name == name and event.at >= at for event in self._events)


def events_in(found: object) -> list[Event]:
    """Return the events in the answer of a process, none if it is of another version."""
    try:
        return _EVENTS.validate_python(found)
    except ValidationError:
        return []


def together(own: Iterable[Event], others: Iterable[tuple[str | None, Event]]) -> list[dict[str, Any]]:
    """Return the last 50 events of several processes, the oldest first. A reload of all of them is one event.

    own: events that only this process sees, each of which counts.
    others: events of other processes, and the name of the replica if it is to be shown.
    """
    found: list[tuple[str | None, Event]] = [(None, event) for event in own]
    for replica, event in sorted(others, key=lambda other: other[1].at):
        same = (known for _, known in found if (known.name, known.values) == (event.name, event.values))
        if not any(abs(event.at - known.at) <= _SAME for known in same):
            found.append((replica, event))
    found.sort(key=lambda shown: shown[1].at)
    return [asdict(event) | ({} if replica is None else {"replica": replica}) for replica, event in found[-_MOST:]]


_EVENTS: Final = TypeAdapter(list[Event])
