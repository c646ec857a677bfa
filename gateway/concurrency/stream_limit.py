"""Load has a limit."""

from gateway.errors import Overloaded


class StreamLimit:
    """At most ``most`` images in flight; one more is refused at once, so that those under way stay fast."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def take(self) -> None:
        """A place, which the caller gives back; raises ``Overloaded`` when there is none."""
        if self._taken >= self._most:
            raise Overloaded(f"{self._taken} streams in flight")
        self._taken += 1

    def give_back(self) -> None:
        """A place that was taken is free again."""
        self._taken -= 1
