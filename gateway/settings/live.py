"""A value that a reload of the configuration replaces, such as a section."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Live(Generic[T]):
    """Holds the ``value`` in use, which is looked at where it is needed and copied nowhere.

    A reload replaces all values in one step that awaits nothing, so a request sees either all old or all new ones.
    """

    __slots__ = ("_watchers", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self._watchers: list[Callable[[T, T], None]] = []

    def map(self, make: Callable[[T], U]) -> "Live[U]":
        """Return what ``make`` makes of the value, and makes anew of each later one."""
        made = Live(make(self.value))
        self.watch(lambda _, new: made.replace(make(new)))
        return made

    def watch(self, replaced: Callable[[T, T], None]) -> None:
        """Call ``replaced`` with the old and the new value when the value has been replaced. It must not fail."""
        self._watchers.append(replaced)

    def replace(self, value: T) -> None:
        """Hold this value from now on. Only the reloader calls it for the settings as a whole."""
        old, self.value = self.value, value
        for replaced in self._watchers:
            replaced(old, value)
