"""Faults of the emulated purge services."""

from collections.abc import Sequence
from typing import Literal

from gateway.cos_emulator.service_faults import ServiceFault


class PurgeFault(ServiceFault):
    """A fault of requests that name ``target``.

    Kinds besides those that every service knows:

    - ``throttled`` and ``day_limit``: a refusal inside a 200, as if that limit were reached.
    - ``error``: an internal error inside a 200.
    - ``bad_target``: targets that contain ``target`` are not accepted. Tencent CDN refuses the whole request for such a
      target. EdgeOne lists such targets in FailedList.
    """

    kind: Literal["throttled", "day_limit", "error", "internal_error", "garbage", "hang", "bad_target"]
    target: str = ""

    def is_for(self, targets: Sequence[str]) -> bool:
        """Return whether the fault is for a request that purges ``targets``."""
        return any(self.target in target for target in targets)
