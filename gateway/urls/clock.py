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

    def now(self) -> float:
        """Unix seconds."""
        return self._local() + self.offset

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
        logger.warning("the clock of this machine and that of COS differ, synchronize it (NTP): %+d s", offset)
        return True
