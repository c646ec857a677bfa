"""An entry of a dead list: a renewal or a purge that was given up."""

import json
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.net.printable import printable

T = TypeVar("T")

_LATEST = 253_402_300_799  # the end of the year 9999, the last that Python's datetime has
_MOST_ATTEMPTS = 10**9
_LONGEST_REASON = 500  # characters


@dataclass(frozen=True, slots=True)
class DeadEntry(Generic[T]):
    """An item that was given up: why, when (Unix seconds), and after how many attempts."""

    item: T
    reason: str
    at: float
    attempts: int

    def encode(self) -> str:
        """Return the JSON kept under the item's word."""
        return json.dumps({"reason": self.reason, "at": self.at, "attempts": self.attempts})

    @staticmethod
    def decode(item: T, text: bytes) -> "DeadEntry[T]":
        """Return the entry that ``encode`` wrote. Any other text becomes an entry with a reason that says so."""
        try:
            entry = json.loads(text)
            return DeadEntry(
                item,
                printable(str(entry["reason"])[:_LONGEST_REASON]),
                _bounded(float(entry["at"]), _LATEST),
                int(_bounded(float(entry["attempts"]), _MOST_ATTEMPTS)),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return DeadEntry(item, "unreadable entry", 0.0, 0)


def _bounded(number: float, most: float) -> float:
    """Return the number if it is between 0 and ``most``, else 0: Python's JSON has infinities."""
    return number if 0 <= number <= most else 0.0
