"""COS's errors (COS document 7730), what each means for a client, and exceptions that stay inside the gateway."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import aiohttp
from multidict import istr

from gateway import errors
from gateway.net.http_fields import seconds_of
from gateway.origin.retry import retry_after

REQUEST_ID: Final = istr("x-cos-request-id")
# COS rejects the credentials: it answers either code for a token that has ended.
CREDENTIAL_CODES: Final = frozenset({"ExpiredToken", "InvalidAccessKeyId"})
# COS asks for fewer requests, and answers another attempt later.
THROTTLED_STATUSES: Final = frozenset({429, 503})
_CODE: Final = re.compile(rb"<Code>([A-Za-z][A-Za-z.]{0,63})</Code>")
_EXPIRED: Final = b"<Message>Request has expired</Message>"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9+/=_-]{1,128}")
_UNSATISFIED_RANGE: Final = re.compile(r"bytes \*/([0-9]{1,19})")


class _Meaning(NamedTuple):
    """The meaning of an error code of COS, beyond the HTTP status.

    outcome: the error for the client, None if the status says it.
    is_refusal: COS refuses the gateway for every object. False if it has accepted the signature. None if
        the status says it.
    """

    outcome: type[errors.GatewayError] | None = None
    is_refusal: bool | None = None


_BY_STATUS: Final = {402: errors.OriginSuspended, 404: errors.ImageNotFound, 451: errors.ImageBlocked}
_OF_STATUS: Final = _Meaning()
_CODES_BY_MEANING: Final[Mapping[_Meaning, str]] = {
    _OF_STATUS: "AccessDenied InternalError InvalidAccessKeyId InvalidArgument InvalidRequest InvalidURI"
    " MethodNotAllowed PaymentRequired RequestTimeTooSkewed RequestTimeout ServiceUnavailable SignatureDoesNotMatch"
    " SlowDown",
    _Meaning(is_refusal=True): "ExpiredToken",
    _Meaning(is_refusal=False): "InvalidImageFormat InvalidRange NoSuchKey PreconditionFailed",
    _Meaning(errors.ImageArchived, is_refusal=False): "InvalidObjectState",
    _Meaning(errors.ImageBlocked): "DomainAuditFailed UnavailableForLegalReasons",
    _Meaning(errors.ImageTooLarge, is_refusal=False): "ImageResolutionExceed ImageTooLarge",
    _Meaning(errors.OriginMisconfigured): "PathStyleDomainForbidden",
    _Meaning(errors.OriginMisconfigured, is_refusal=True): "BucketAccelerateNotEnabled NoSuchBucket UserCnameInvalid",
}
# The documented codes, also of image processing.
CODES: Final = {code: meaning for meaning, codes in _CODES_BY_MEANING.items() for code in codes.split()}


class CosError(NamedTuple):
    """An error response of COS, parsed.

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

    @property
    def said(self) -> str:
        """The status, and the code if there is one."""
        return f"{self.status} {self.code}" if self.code is not None else str(self.status)

    def __str__(self) -> str:
        return f"COS answered {self.said}" + (f" (request {self.request_id})" if self.request_id else "")


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


REFUSALS: Final = frozenset(  # codes by which COS refuses every request of the gateway
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)


def is_refusal(error: CosError) -> bool | None:
    """Return whether COS refuses to serve the gateway, or None if the error says nothing about that."""
    is_refusal = CODES.get(error.code or "", _OF_STATUS).is_refusal
    return True if is_refusal is None and error.status in (402, 403) else is_refusal


class Failure(NamedTuple):
    """A failed request to COS that may succeed when it is sent again.

    outcome: the error for the client if the request is not sent again.
    wait: COS's Retry-After in seconds.
    is_unsent: COS received nothing of the request.
    is_lost: the connection ended before COS answered.
    """

    outcome: errors.OriginUnavailable | errors.OriginThrottled | errors.OriginTimeout
    wait: float = 0.0
    is_unsent: bool = False
    is_lost: bool = False


def failure_of(error: CosError, headers: Mapping[str, str], reason: str) -> Failure:
    """Return the failure that COS's error means. Raises its outcome if another attempt would get the same answer.

    ``reason`` is for the log. Raises ``PresignedUrlRefused`` if COS may accept a newly signed URL.
    """
    if error.status in THROTTLED_STATUSES:
        wait = retry_after(headers.get("Retry-After"))
        return Failure(errors.OriginThrottled(reason, wait=wait), wait or 0.0)
    if error.status >= 500:
        return Failure(errors.OriginUnavailable(reason))
    if error.status == 412:
        raise ObjectReplaced
    if error.status == 416:
        size = _UNSATISFIED_RANGE.fullmatch(headers.get("Content-Range", ""))
        raise errors.RangeNotSatisfiable(int(size[1]) if size is not None else None)
    outcome = CODES.get(error.code or "", _OF_STATUS).outcome or _BY_STATUS.get(error.status)
    if outcome is not None:
        raise outcome(reason)
    if error.status == 403 or error.code == "ExpiredToken":
        raise PresignedUrlRefused(error, reason)
    if error.status >= 400:
        raise errors.OriginRejected(reason)
    raise errors.OriginUnavailable(reason)


class ConnectionLost(aiohttp.ClientError):
    """The connection to COS ended before an answer. It is unknown whether COS received the request."""


class NothingSent(aiohttp.ClientError):
    """The connection to COS had ended before the request was written: COS received nothing of it."""


class PresignedUrlRefused(Exception):
    """COS refused the presigned URL: it has expired, or was never valid. Renew it once and try again.

    ``error`` is COS's answer. The exception's message is for the log.
    """

    def __init__(self, error: CosError, reason: str = "") -> None:
        super().__init__(reason or str(error))
        self.error = error


class BodyLost(Exception):
    """The body that COS sends broke off, stalled, or does not match its announced length or checksum."""


class BodyTooSlow(BodyLost):
    """COS sent less than 1 KiB a second while the gateway waited for more."""


class ObjectReplaced(Exception):
    """COS answered 412: the object is no longer the requested version."""


class RowChanged(Exception):
    """The image's row has changed since access to the image was checked, or is gone: look the image up again.

    It is raised instead of a request to COS, so nothing of the changed row can be sent before that.
    """
