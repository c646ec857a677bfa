"""Faults in force: which requests match each one, and how often it fired."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.cos_emulator.faults import Alteration, Delivery, Fault


@dataclass(slots=True)
class ArmedFault:
    """A fault in force."""

    fault: Fault
    matched: int = 0
    """Requests that matched, those let pass included."""
    fired: int = 0
    """Requests that met the action."""

    def meets(self, method: str, key: str) -> bool:
        """Count the request, and say whether it meets the action."""
        fault = self.fault
        if fault.method not in {None, method} or not fnmatchcase(key, fault.key):
            return False
        self.matched += 1
        if self.matched <= fault.skip or (fault.times is not None and self.fired >= fault.times):
            return False
        self.fired += 1
        return True


@dataclass(frozen=True, slots=True)
class Fired:
    """What one request meets."""

    alterations: list[Alteration]
    delivery: Delivery | None


class Faults:
    """The faults in force, in the order they were added."""

    def __init__(self) -> None:
        self.armed: list[ArmedFault] = []

    def add(self, fault: Fault) -> ArmedFault:
        """Put a fault in force; the return value shows how often it fired."""
        armed = ArmedFault(fault)
        self.armed.append(armed)
        return armed

    def clear(self) -> None:
        """Remove all faults; requests that already matched a fault still apply it."""
        self.armed.clear()

    def meet(self, method: str, key: str) -> Fired:
        """The actions that this request meets; asking counts the request."""
        actions = [armed.fault.action for armed in self.armed if armed.meets(method, key)]
        deliveries = [action for action in actions if isinstance(action, Delivery)]
        return Fired(
            alterations=[action for action in actions if isinstance(action, Alteration)],
            delivery=deliveries[0] if deliveries else None,
        )
