"""The base of every error that a client can see."""

import math
from collections.abc import Mapping
from typing import ClassVar, Protocol

_MAX_WAIT = 60  # seconds


def retry_after_field(wait: float) -> str:
    """Return ``wait`` in whole seconds, at least 1."""
    return str(min(_MAX_WAIT, max(1, math.ceil(wait))))


class DependencyDown(Exception):
    """A dependency did not respond. The caller decides whether that is an error for the client."""


class DependencyDegraded(DependencyDown):
    """A dependency responds, but refuses something that requests need."""


class CosAnswer(Protocol):
    """COS's error code and request id, for the access log."""

    @property
    def code(self) -> str | None:
        """COS's error code."""
        ...

    @property
    def request_id(self) -> str | None:
        """The id of the request in COS's logs."""
        ...


class GatewayError(Exception):
    """An error with an HTTP status and a stable snake_case ``code``.

    The client reads ``message``, which never contains an object key, a bucket or a URL. Only the log gets
    ``str(error)``, the text that the exception was raised with.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    message: ClassVar[str] = "the gateway failed to answer"
    # COS's answer that caused the error; None if COS did not answer or was not asked.
    cos: "CosAnswer | None" = None

    @property
    def client_message(self) -> str:
        """The text that the client reads."""
        return self.message

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that the response must have in addition to the headers of every error."""
        return {}
