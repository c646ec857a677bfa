"""The range of an object that an answer of COS covers (RFC 9110 section 14.4)."""

import re
from dataclasses import dataclass

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes of the object that a 206 carries: ``first`` to ``last``, both included, of ``size``."""

    first: int
    last: int
    size: int

    def is_rest(self, first: int, end: int | None) -> bool:
        """Return whether these are the bytes from ``first`` up to ``end`` (excluded. None: the end of the object)."""
        return self.first == first and self.last + 1 == (self.size if end is None else end)


def content_range_of(text: str | None) -> ContentRange | None:
    """Return the range in a ``Content-Range``, or None without one, or if it does not name first, last and size."""
    covered = _CONTENT_RANGE.fullmatch(text) if text is not None else None
    return ContentRange(*map(int, covered.groups())) if covered else None
