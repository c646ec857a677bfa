"""The correction of COS's clock, after COS has refused a URL for its time."""

from gateway.presign.lifetime import CosClock
from gateway.urls.resolver import UrlResolver


class ClockCorrection:
    """Sets ``clock`` by COS's answers, and lets ``resolver`` read the rows again that it read by the old clock."""

    def __init__(self, clock: CosClock, resolver: UrlResolver) -> None:
        self._clock = clock
        self._resolver = resolver

    def refused_at(self, cos_time: float | None) -> bool:
        """Set the clock after COS refused a URL at ``cos_time`` (Unix seconds). Return whether the clock moved.

        ``cos_time`` is None if COS did not refuse the URL for its time.
        """
        if not self._clock.refused_at(cos_time):
            return False
        # The times of earlier reads and invalidations are those of the old clock.
        self._resolver.distrust()
        return True
