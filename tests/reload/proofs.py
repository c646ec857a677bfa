"""Which keys the tests of this folder prove a reload of."""

from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., object])

PROVEN: set[str] = set()


def proves(*keys: str) -> Callable[[Test], Test]:
    """Mark a test as the proof that a reload of these keys has an effect."""

    def mark(test: Test) -> Test:
        PROVEN.update(keys)
        return test

    return mark
