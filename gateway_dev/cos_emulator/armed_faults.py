"""Active faults, and the number of requests that each matched and changed."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway_dev.cos_emulator.faults import Alteration, Delivery, Fault


@dataclass(slots=True)
class ArmedFault:
    """An active fault and its counters."""

    fault: Fault
    matched: int = 0
    """Requests that matched key and method, including those that ``skip`` or ``times`` left unchanged."""
    fired: int = 0
    """Requests that the action applied to."""

    def fires(self, method: str, key: str) -> bool:
        """Count the request. Return whether the action applies to it."""
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
    """Actions that apply to a request."""

    alterations: list[Alteration]
    delivery: Delivery | None


class Faults:
    """Active faults in the order they were added."""

    def __init__(self) -> None:
        self.armed: list[ArmedFault] = []

    def add(self, fault: Fault) -> ArmedFault:
        """Activate a fault. Return it with its counters."""
        armed = ArmedFault(fault)
        self.armed.append(armed)
        return armed

    def clear(self) -> None:
        """Remove all faults. Requests in progress keep the actions that fired for them."""
        self.armed.clear()

    def fire(self, method: str, key: str) -> Fired:
        """Count the request in each fault. Return the actions that apply to it."""
        actions = [armed.fault.action for armed in self.armed if armed.fires(method, key)]
        deliveries = [action for action in actions if isinstance(action, Delivery)]
        return Fired(
            alterations=[action for action in actions if isinstance(action, Alteration)],
            delivery=deliveries[0] if deliveries else None,
        )
