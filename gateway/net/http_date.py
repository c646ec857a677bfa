"""Dates in HTTP header fields."""

from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds_of(date: str | None) -> float | None:
    """Return an HTTP date as Unix seconds, or None for other text. No zone means GMT (RFC 9110 section 5.6.7)."""
    if date is None:
        return None
    try:
        parsed = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
