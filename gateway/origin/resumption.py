"""How often, and after what pause, a lost body is resumed."""

from typing import NamedTuple

from gateway.origin.errors import BodyLost, BodyTooSlow
from gateway.origin.retry import Backoff


class ResumptionLimits(NamedTuple):
    """At most ``resumes`` resumptions with less than ``progress`` bytes in between.

    An origin that breaks off every response early is therefore given up, and a long transfer may be lost any number of
    times.
    """

    resumes: int
    backoff: Backoff
    progress: int = 64 * 1024


class Resumption:
    """The losses of one body so far. A body that was too slow is resumed only once."""

    __slots__ = ("_left", "_limits", "_received_at_loss", "_was_slow")

    def __init__(self, limits: ResumptionLimits, received: int = 0) -> None:
        self._limits = limits
        self._left = limits.resumes
        self._received_at_loss = received
        self._was_slow = False

    def pause(self, loss: BodyLost, received: int) -> float | None:
        """Return the seconds to wait before the body is resumed after ``received`` bytes. None: give it up."""
        if isinstance(loss, BodyTooSlow):
            if self._was_slow:
                return None
            self._was_slow = True
        if received - self._received_at_loss >= self._limits.progress:
            self._left = self._limits.resumes
        self._received_at_loss = received
        if self._left == 0:
            return None
        failed_before = self._limits.resumes - self._left
        return self._limits.backoff.pause(failed_before) if failed_before else 0.0

    def used(self) -> None:
        """Count a resumption that COS answered."""
        self._left -= 1
