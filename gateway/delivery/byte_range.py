"""One range of bytes of an object (RFC 9110 section 14)."""

import re
from typing import NamedTuple, Self

from gateway.errors import RangeNotSatisfiable

# COS accepts only one range, and RFC 9110 section 14.2 lets a server ignore unsupported ones. There are no spaces
# within a range (section 14.1.1); names of units are case-insensitive (section 14.1).
_SINGLE_RANGE = re.compile(r"[Bb][Yy][Tt][Ee][Ss]=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))")


class ByteRange(NamedTuple):
    """The bytes ``first`` to ``last``, both included.

    ``last`` None: to the end. ``first`` None: the last ``last`` bytes of the object (section 14.1.2).
    """

    first: int | None
    last: int | None

    @classmethod
    def parse(cls, field: str) -> Self | None:
        """Return the range of a Range header field; None for a field to ignore (section 14.2)."""
        found = _SINGLE_RANGE.fullmatch(field)
        if found is None:
            return None
        first, last, suffix = found.groups()
        if suffix is not None:
            return cls(None, int(suffix))
        if last is not None and int(last) < int(first):
            return None  # section 14.1.1: not a valid range
        return cls(int(first), int(last) if last is not None else None)

    def within(self, size: int) -> tuple[int, int]:
        """Return the first and the last byte of an object of ``size`` bytes; raises ``RangeNotSatisfiable``."""
        if self.first is None:
            if self.last == 0 or size == 0:
                raise RangeNotSatisfiable(size)
            return max(0, size - (self.last or 0)), size - 1
        if self.first >= size:
            raise RangeNotSatisfiable(size)
        return self.first, size - 1 if self.last is None else min(self.last, size - 1)

    def __str__(self) -> str:
        """The value of a Range header field."""
        return f"bytes={'' if self.first is None else self.first}-{'' if self.last is None else self.last}"
