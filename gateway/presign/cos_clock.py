"""The clock of COS, by which presigned URLs begin and end."""

import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.presign.signed_image import CLOCK_TOLERANCE

logger = logging.getLogger(__name__)

_MAX_OFFSET: Final = 24 * 3600  # seconds; a larger one is taken for an error
# Seconds between two warnings: if one of several servers has a wrong clock, the result changes with each answer.
_WARN_EVERY: Final = 600


class CosClock:
    """This machine's clock, until COS refuses a URL and its ``Date`` is half a minute or more away.

    From then on it follows COS, so that URLs are valid again and match those of replicas whose clocks are right.
    """

    def __init__(self, local: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._local = local
        self._monotonic = monotonic
        self._warned_at = float("-inf")
        self.offset = 0.0
        self.observed_offset = 0.0

    def now(self) -> float:
        """Return Unix seconds."""
        return self._local() + self.offset

    def latest(self) -> float:
        """Return Unix seconds by the clock that is ahead, this one or COS's: for limits that must not be late."""
        return self._local() + max(self.offset, self.observed_offset)

    def observe(self, cos_time: float | None) -> None:
        """Note the time of an answer of COS, in Unix seconds. None: the answer has no readable ``Date``.

        This does not change ``now``: only a refused URL proves that the clock is wrong.
        """
        if cos_time is None:
            return
        was_off, offset = abs(self.observed_offset) >= CLOCK_TOLERANCE, cos_time - self._local()
        self.observed_offset = offset if abs(offset) <= _MAX_OFFSET else 0.0
        if was_off or abs(offset) < CLOCK_TOLERANCE or self._monotonic() - self._warned_at < _WARN_EVERY:
            return
        self._warned_at = self._monotonic()
        how = "slow" if offset > 0 else "fast"
        logger.warning("the clock of this machine is %d s %s by that of COS, synchronize it (NTP)", abs(offset), how)

    def refused_at(self, cos_time: float | None) -> bool:
        """Set the clock after COS refused a URL at ``cos_time`` (Unix seconds, None without a readable ``Date``).

        Returns whether the clock was changed.
        """
        if cos_time is None or abs(cos_time - self.now()) < CLOCK_TOLERANCE:
            return False
        offset = cos_time - self._local()
        if abs(offset) > _MAX_OFFSET:
            logger.warning("the time that COS answered is off by %+d s, which is ignored", offset)
            return False
        self.offset = offset if abs(offset) >= CLOCK_TOLERANCE else 0.0
        self.observed_offset = offset
        logger.warning("the clock of this machine and that of COS differ, synchronize it (NTP): %+d s", offset)
        return True
