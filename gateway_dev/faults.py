"""Faults for the playground: faults of the COS emulator by name, and URLs that expire before their time."""

import glob
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from gateway_dev.cos_emulator.armed_faults import ArmedFault, Faults
from gateway_dev.cos_emulator.faults import Fault, Hang, Refuse

# Each lasts until it is turned off.
FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "throttle": Fault(action=Refuse(status=503, code="SlowDown", headers={"Retry-After": "1"}), times=None),
        "hang": Fault(action=Hang(), times=None),
    }
)
_EXPIRED: Final = Refuse(status=403, code="AccessDenied", message="Request has expired")


class NamedFaults:
    """The faults of an emulator that are on. Faults that a test or a user has added are left alone."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def active(self) -> list[str]:
        on = [armed.fault for armed in self._faults.armed]
        return [name for name, fault in FAULTS.items() if any(active is fault for active in on)]

    def turn_on(self, name: str) -> None:
        if name not in self.active():
            self._faults.add(FAULTS[name])

    def turn_off(self, name: str) -> None:
        """Turn a fault off. An answer that already hangs continues to hang until the gateway gives up."""
        self._keep(lambda armed: armed.fault is not FAULTS[name])

    def expire(self, keys: Iterable[str]) -> None:
        """Make COS refuse the next URL of each object as expired, as it does once the URL's time is over."""
        self._keep(lambda armed: armed.fault.action is not _EXPIRED or armed.fired == 0)
        for key in keys:
            self._faults.add(Fault(action=_EXPIRED, key=glob.escape(key), method="GET"))

    def _keep(self, wanted: Callable[[ArmedFault], bool]) -> None:
        self._faults.armed[:] = [armed for armed in self._faults.armed if wanted(armed)]
