"""COS's error responses: status, and the code in the body (COS document 7730)."""

import re
from typing import Final, NamedTuple

from multidict import istr

from gateway.net.http_date import seconds_of

REQUEST_ID: Final = istr("x-cos-request-id")
_CODE: Final = re.compile(rb"<Code>([A-Za-z][A-Za-z.]{0,63})</Code>")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9+/=_-]{1,128}")
# COS rejects the credentials: it answers either code for a token that has ended.
CREDENTIAL_CODES: Final = frozenset({"ExpiredToken", "InvalidAccessKeyId"})
# COS asks for fewer requests, and answers another attempt later.
THROTTLED_STATUSES: Final = frozenset({429, 503})
_EXPIRED: Final = b"<Message>Request has expired</Message>"


class CosError(NamedTuple):
    """A response without an object.

    code: None if the body has no code, as in every response to a HEAD.
    date: COS's time in Unix seconds, None without a Date field.
    is_expired: the signature has expired.
    request_id: names the request in COS's logs (``x-cos-request-id``), None if COS sent none.
    """

    status: int
    code: str | None = None
    date: float | None = None
    is_expired: bool = False
    request_id: str | None = None

    @property
    def clock(self) -> float | None:
        """COS's time if a wrong clock explains the refusal, by the rule of COS's Node SDK. None for any other error."""
        is_clock_error = self.code == "RequestTimeTooSkewed" or (self.code == "AccessDenied" and self.is_expired)
        return self.date if is_clock_error else None

    def __str__(self) -> str:
        """Status, code and COS's request id, for the log."""
        code = f" {self.code}" if self.code is not None else ""
        return f"COS answered {self.status}{code}" + (f" (request {self.request_id})" if self.request_id else "")


def parse_error(status: int, date: str | None, body: bytes, request_id: str | None = None) -> CosError:
    """Return the error that ``body``, or its beginning, describes. Any bytes are accepted."""
    code = _CODE.search(body)
    return CosError(
        status,
        code[1].decode() if code is not None else None,
        seconds_of(date),
        _EXPIRED in body,
        request_id if request_id is not None and _REQUEST_ID.fullmatch(request_id) else None,
    )
