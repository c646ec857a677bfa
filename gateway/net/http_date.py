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


def is_later(date: str | None, than: str | None) -> bool | None:
    """Return whether ``date`` is later than the other; None unless both are HTTP dates."""
    after = seconds_of(than)
    at = seconds_of(date) if after is not None else None
    return None if at is None or after is None else at > after


def is_same_time(date: str | None, other: str | None) -> bool:
    """Return whether both are HTTP dates of the same second."""
    seconds = seconds_of(date)
    return seconds is not None and seconds == seconds_of(other)
