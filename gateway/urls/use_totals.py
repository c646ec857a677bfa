"""Recent numbers of uses from Redis, so that an answer can contain a number without a read of Redis."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.presign.signed_image import ImageVariant

_MOST = 10_000  # variants
_FRESH_FOR = 30.0  # seconds


@dataclass(slots=True)
class _Total:
    count: int
    read_at: float


class UseTotals:
    """The uses of up to 10,000 variants: the number read from Redis, plus those of this process since.

    ``now`` returns seconds. A total is fresh for 30 seconds, so the uses of other replicas are at most as old.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._totals: OrderedDict[ImageVariant, _Total] = OrderedDict()  # the oldest first

    def get(self, variant: ImageVariant) -> int | None:
        """Return the total, or None if it is unknown or was read too long ago."""
        total = self._totals.get(variant)
        if total is None or not 0 <= self._now() - total.read_at < _FRESH_FOR:
            return None
        return total.count

    def get_stale(self, variant: ImageVariant) -> int | None:
        """Return the total at any age, for use while Redis does not answer, or None if it is unknown."""
        total = self._totals.get(variant)
        return total.count if total is not None else None

    def put(self, variant: ImageVariant, count: int) -> None:
        """Keep a total that was read now, in place of the oldest total."""
        self._totals[variant] = _Total(count, self._now())
        self._totals.move_to_end(variant)
        if len(self._totals) > _MOST:
            self._totals.popitem(last=False)

    def add(self, variant: ImageVariant, count: int) -> None:
        """Add uses that this process counted after the total was read."""
        total = self._totals.get(variant)
        if total is not None:
            total.count += count
