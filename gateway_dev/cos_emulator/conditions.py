"""Ranges and preconditions of GET and HEAD Object (doc 7753, 7745), as pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from gateway_dev.cos_emulator import refusals


class Outcome(Enum):
    """Result of evaluating the preconditions of a request."""

    PROCEED = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, stop) of an object of ``size`` bytes."""

    start: int
    stop: int
    size: int

    @property
    def content_range(self) -> str:
        """Content-Range header of the 206."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


def evaluate(headers: Mapping[str, str], etag: str | None, last_modified: float) -> Outcome:
    """Return the status that the four preconditions lead to, in the order of RFC 9110 section 13.2.2.

    ``etag`` is quoted, or None for an object without one; ``last_modified`` is in Unix seconds. Invalid dates are
    ignored. COS does not document If-Range, so it has no effect.
    """
    if (if_match := headers.get("If-Match")) is not None:
        if not _lists(if_match, etag):
            return Outcome.FAILED
    elif (since := _date(headers.get("If-Unmodified-Since"))) is not None and int(last_modified) > since:
        return Outcome.FAILED
    if (if_none_match := headers.get("If-None-Match")) is not None:
        # If-None-Match outranks If-Modified-Since: RFC 9110 section 13.1.3.
        return Outcome.NOT_MODIFIED if _lists(if_none_match, etag) else Outcome.PROCEED
    if (since := _date(headers.get("If-Modified-Since"))) is not None and int(last_modified) <= since:
        return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the requested range: ``first-last``, ``first-`` or ``-suffix``; None means the whole object.

    Multiple and invalid ranges are ignored, as RFC 9110 section 14.2 allows: COS serves a single range.
    Raises the InvalidRange refusal if the object has no byte in the range.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip(), re.ASCII)
    if match is None or match.group(0).endswith("=-"):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None  # invalid, and so ignored: RFC 9110 section 14.1.1
    if start >= size or start >= stop:
        raise refusals.invalid_range()
    return ByteRange(start, stop, size)


def _lists(header: str, etag: str | None) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    # SDK users often send the ETag without its quotes; COS accepts both forms.
    return "*" in tags or (etag is not None and (etag in tags or etag.strip('"') in tags))


def _date(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except ValueError:
        return None
