"""Load has a limit."""

from types import TracebackType

from gateway.errors import Overloaded


class StreamLimit:
    """At most ``most`` images in flight; one more is refused at once, so that those under way stay fast.

    ``with limit:`` holds a place for the duration; raises ``Overloaded`` when there is none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def __enter__(self) -> None:
        if self._taken >= self._most:
            raise Overloaded(f"{self._taken} streams in flight")
        self._taken += 1

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._taken -= 1
