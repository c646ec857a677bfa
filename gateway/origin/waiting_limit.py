"""A limit on the requests that wait for one bucket, so that a bucket which hangs leaves places to the others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import OriginPaused


class WaitingLimit:
    """Lets at most ``most`` requests wait for the first byte of each bucket."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def place(self, bucket: str) -> Iterator[None]:
        """Take a place for the block. Raises ``OriginPaused`` if none is free."""
        if self._waiting[bucket] >= self.most:
            raise OriginPaused(f"{self.most} requests wait for bucket {bucket}")
        self._waiting[bucket] += 1
        try:
            yield
        finally:
            self._waiting[bucket] -= 1
            if not self._waiting[bucket]:
                del self._waiting[bucket]
