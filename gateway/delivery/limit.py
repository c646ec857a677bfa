"""Load has a limit."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import Overloaded


class StreamLimit:
    """At most ``most`` images in flight; one more is refused at once, so that those under way stay fast."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a place for the duration; raises ``Overloaded`` when there is none."""
        if self._taken >= self._most:
            raise Overloaded(f"{self._taken} streams in flight")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
