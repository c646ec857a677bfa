"""Values of HTTP header fields: dates, the type of an image, and the name that it is saved under."""

import re
from datetime import UTC
from email.utils import encode_rfc2231, parsedate_to_datetime

_IMAGE = re.compile(r"image/[a-z0-9!#$&^_.+-]+")  # RFC 6838 section 4.2
_PLAIN_FILENAME = re.compile(r"[A-Za-z0-9 ._-]+")


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


def is_image(media_type: str) -> bool:
    """Return whether it is ``image/*`` without parameters."""
    return _IMAGE.fullmatch(media_type) is not None


def content_disposition(file_name: str) -> str:
    """Return ``attachment`` with the file name (RFC 6266 section 4.1), in both forms if it is not plain ASCII."""
    plain = "".join(char if _PLAIN_FILENAME.fullmatch(char) else "_" for char in file_name)
    value = f'attachment; filename="{plain}"'
    if plain != file_name:
        value += f"; filename*={encode_rfc2231(file_name, 'UTF-8')}"
    return value
