"""The time as COS has it: what presigned URLs live and die by."""

import logging
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

# Signatures begin a minute early, so less is no reason for a refusal; COS's own SDKs correct from here on, too.
TOLERATED: Final = 30
_BELIEVED: Final = 24 * 3600


class CosClock:
    """This machine's clock, until COS refuses a URL and tells a time that is half a minute or more away from it.

    Then it runs by COS's time, so that URLs are good again and replicas whose clocks are right agree with this one.
    """

    def __init__(self, local: Callable[[], float] = time.time) -> None:
        self._local = local
        self.offset = 0.0
        self.observed_offset = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return self._local() + self.offset

    def latest(self) -> float:
        """Unix seconds by whichever clock is ahead, this one or COS's: for limits that must not be too late."""
        return self._local() + max(self.offset, self.observed_offset)

    def observe(self, told: float | None) -> None:
        """Take note of COS's time in an answer, in Unix seconds; None if the answer has none that can be read.

        URLs are signed as before: only a refusal proves that COS does not take them.
        """
        if told is None:
            return
        was_off, offset = abs(self.observed_offset) >= TOLERATED, told - self._local()
        self.observed_offset = offset if abs(offset) <= _BELIEVED else 0.0
        if was_off or abs(offset) < TOLERATED:
            return
        how = "slow" if offset > 0 else "fast"
        logger.warning("the clock of this machine is %d s %s by that of COS, synchronize it (NTP)", abs(offset), how)

    def refused_at(self, told: float | None) -> bool:
        """COS refused a URL, and ``told`` its own time in Unix seconds; None when it told none that can be read.

        Whether the clock was set by it.
        """
        if told is None or abs(told - self.now()) < TOLERATED:
            return False
        offset = told - self._local()
        if abs(offset) > _BELIEVED:
            logger.warning("the clock of COS is said to be off by %+d s, which is not believed", offset)
            return False
        self.offset = offset if abs(offset) >= TOLERATED else 0.0
        self.observed_offset = offset
        logger.warning("the clock of this machine and that of COS differ, synchronize it (NTP): %+d s", offset)
        return True
