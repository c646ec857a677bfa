"""The credentials that sign presigned URLs. Reading them never waits: a background task refreshes those in memory."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

# Secrets become parts of a URL and of header fields.
_TEXT: Final = re.compile(r"[!-~]+")
_LONGEST: Final = 8192  # characters; COS documents tokens of at most 4096 bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key of Tencent Cloud, to sign requests. ``expires_at``: Unix seconds, None if ``token`` has no end."""

    secret_id: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: int | None = None


class CredentialsUnavailable(Exception):
    """A source, such as a file or Tencent's STS, has no usable credentials now. The text says why and has no secret."""


class SourceDown(CredentialsUnavailable):
    """The source does not answer, fails or throttles: a later request may succeed with the same configuration."""


# Returns the credentials of a source now. Raises ``CredentialsUnavailable``.
Fetch = Callable[[], Awaitable[Credentials]]


def checked(secret_id: Any, secret_key: Any, token: Any, expires_at: Any) -> Credentials:
    """Return the values of a foreign answer as credentials. Raises ``CredentialsUnavailable`` for invalid values."""
    if not (_is_text(secret_id) and _is_text(secret_key) and (token is None or _is_text(token))):
        raise CredentialsUnavailable("the answer has no SecretId, SecretKey or token")
    is_number = isinstance(expires_at, int | float) and not isinstance(expires_at, bool)
    if expires_at is not None and not (is_number and 0 < expires_at < 1e11):
        raise CredentialsUnavailable("the end of the credentials is not a Unix time in seconds")
    return Credentials(secret_id, secret_key, token, None if expires_at is None else int(expires_at))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and _TEXT.fullmatch(value) is not None
