"""Faults of the emulated purge services."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt


class PurgeFault(BaseModel):
    """A fault of the next ``times`` requests that name ``target``; ``times`` null: of every such request.

    ``throttled`` and ``day_limit``: a refusal inside a 200, as if that limit were reached. ``error``: an internal error
    inside a 200. ``internal_error``: an empty answer with status 500. ``garbage``: status 200 and a page of HTML.
    ``hang``: no answer. ``bad_target``: targets that contain ``target`` are not accepted; Tencent CDN refuses the whole
    request for it, EdgeOne lists them in FailedList.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["throttled", "day_limit", "error", "internal_error", "garbage", "hang", "bad_target"]
    target: str = ""
    times: PositiveInt | None = 1


class PurgeFaults:
    """Active faults in the order they were added; the first that applies to a request fires."""

    def __init__(self) -> None:
        self._active: list[tuple[PurgeFault, int]] = []

    def add(self, fault: PurgeFault) -> None:
        """Activate a fault."""
        self._active.append((fault, 0))

    def clear(self) -> None:
        """Remove all faults; requests that hang go on hanging."""
        self._active.clear()

    def fire(self, targets: Sequence[str]) -> PurgeFault | None:
        """Count a request that purges ``targets``; return the fault that applies to it, None without one."""
        for number, (fault, fired) in enumerate(self._active):
            if fault.times is not None and fired >= fault.times:
                continue
            if any(fault.target in target for target in targets):
                self._active[number] = fault, fired + 1
                return fault
        return None
