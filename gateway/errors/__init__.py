"""Every error that a client can see, a class each.

Adapters raise them in place of their libraries' exceptions. Only ``gateway.server.error_responses`` makes responses.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Final, TypeVar

E = TypeVar("E", bound=BaseException)

_MAX_WAIT = 60  # seconds


def without_traceback(error: E) -> E:
    """Return the error without its traceback, so that it can be kept, or raised to several callers.

    The frames of a traceback have the error, and all bytes that were read, as locals: a reference cycle, which lasts
    until the garbage collector runs.
    """
    return error.with_traceback(None)


class DependencyDown(Exception):
    """A dependency, such as Postgres or Redis, did not respond. The caller decides whether the client gets an error."""


class DependencyDegraded(DependencyDown):
    """A dependency responds, but refuses something that requests need."""


class GatewayError(Exception):
    """An error with an HTTP status and a stable snake_case ``code``.

    The client reads ``message``, which never contains an object key, a bucket or a URL. Only the log gets
    ``str(error)``, the text that the exception was raised with.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    message: str = "the gateway failed to answer"
    # The response has these in addition to the headers of every error.
    headers: Mapping[str, str] = {}
    # COS's code, and the id of the request in COS's logs, if an error that COS answered is the cause.
    cos_code: str | None = None
    cos_request_id: str | None = None

    def __init_subclass__(cls, *, status: int = 0, code: str = "", message: str = "") -> None:
        """Name the outcome. What is left out is that of the base class."""
        super().__init_subclass__()
        for name, value in (("status", status), ("code", code), ("message", message)):
            if value:
                setattr(cls, name, value)


# Errors of requests, which the client has to change.


class InvalidRequest(GatewayError, status=400, code="invalid_request", message="the request is not valid"):
    """The request itself is wrong. The client reads ``detail``, so ``detail`` must not echo raw input."""

    def __init__(self, detail: str | None = None) -> None:
        self.message = detail or self.message
        super().__init__(self.message)


class ConfigurationRefused(
    InvalidRequest, code="configuration_refused", message="the new configuration is refused, the old one stays"
):
    """A reload refused new settings and changed nothing. ``problems``: lines that name a key, never a value."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__(f"{self.message}: {'; '.join(problems)}")


class InvalidAlias(
    InvalidRequest, code="invalid_alias", message="an alias is 1 to 850 bytes of UTF-8, percent-encoded, without NUL"
):
    """The text after ``/a/`` cannot be the alias of an image."""


class InvalidImageId(
    InvalidRequest,
    code="invalid_image_id",
    message="an image id is 1 to 128 of A-Z a-z 0-9 . _ : @ - and starts with a letter or digit",
):
    """The image id is not 1 to 128 of ``A-Z a-z 0-9 . _ : @ -`` with a letter or digit first."""


class InvalidBeacon(InvalidRequest, code="invalid_beacon", message="the body is not a beacon of version 1"):
    """The body is not a beacon (a browser's report) in the form that ``/openapi.json`` describes."""


class UnknownStyle(InvalidRequest, code="unknown_style", message="there is no image style of that name"):
    """``?style=`` names a style that ``image_styles`` does not have."""


class UnknownWidth(InvalidRequest, code="unknown_width", message="the style does not have that width"):
    """The style has no widths, or ``w`` times ``dpr`` is none of them (``image_variants.unknown_width: reject``)."""


class UnknownRatio(InvalidRequest, code="unknown_ratio", message="the style does not have that ratio"):
    """The parameter ``r`` (width to height) is none of the ``ratios`` of the requested style."""


class UnknownFormat(InvalidRequest, code="unknown_format", message="the style does not have that format"):
    """``format`` is no format of the style, or ``format`` is ``auto`` without ``image_variants.negotiate: accept``."""


class Unauthorized(GatewayError, status=401, code="unauthorized", message="valid credentials are needed"):
    """A required credential is missing, or a credential is not valid (RFC 9110 section 15.5.2)."""

    # The challenge that RFC 9110 section 11.6.1 requires with every 401.
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="image-gateway"'}


class Forbidden(
    GatewayError, status=403, code="forbidden", message="changes need admin.token, which is not configured"
):
    """The configuration allows this request to no caller (RFC 9110 section 15.5.4)."""


class ForeignHost(
    GatewayError,
    status=403,
    code="foreign_host",
    message="the host must be localhost, an IP address, admin.host or one of admin.allowed_hosts",
):
    """The ``Host`` of a request to the admin port is not one of the port's allowed names."""


class RouteNotFound(GatewayError, status=404, code="not_found", message="there is nothing at this address"):
    """No route has this path."""


class MethodNotAllowed(
    GatewayError, status=405, code="method_not_allowed", message="this address does not support that method"
):
    """The route does not support the method (RFC 9110 section 15.5.6)."""

    def __init__(self, allowed: str) -> None:
        super().__init__(f"allowed: {allowed}")
        self.headers = {"Allow": allowed}


class ReloadImpossible(
    GatewayError,
    status=409,
    code="reload_impossible",
    message="this process does not reload its configuration: it drains, or it was not started with one",
):
    """A reload is not possible: this process has no configuration file, or it drains."""


class RequestTimeout(GatewayError, status=408, code="request_timeout", message="the request did not arrive in time"):
    """The client did not send its request in time (RFC 9110 section 15.5.9)."""

    headers: Mapping[str, str] = {"Connection": "close"}  # the rest of the request is not read


class PayloadTooLarge(GatewayError, status=413, code="payload_too_large", message="the request body is too large"):
    """The request body is larger than any valid body."""


class UnsupportedMediaType(
    GatewayError, status=415, code="unsupported_media_type", message="the body must be text/plain or application/json"
):
    """The body is of a type that the address does not accept (RFC 9110 section 15.5.16)."""


class TooManyRequests(
    GatewayError, status=429, code="too_many_requests", message="too many requests, try again in a moment"
):
    """The client sent too many beacons or wrong admin tokens (RFC 6585 section 4). ``wait``: seconds to the next."""

    def __init__(self, reason: str, *, wait: float = 1) -> None:
        super().__init__(reason)
        self.headers = _retry_after(wait)


class UnknownTransferCoding(
    GatewayError, status=501, code="unknown_transfer_coding", message="the only transfer coding is chunked"
):
    """The body has another transfer coding than ``chunked`` (RFC 9112 section 6.1). Any client can send such a body."""


# Errors about an image: its row, its object, and COS's answers.


class ImageNotFound(GatewayError, status=404, code="image_not_found", message="there is no such image"):
    """The image is unknown, deleted, or not visible to the caller. The response is the same for all three."""


class ImageBlocked(GatewayError, status=451, code="image_blocked", message="the image is blocked for legal reasons"):
    """COS may not return the object: an audit or a court blocked it (RFC 7725).

    The status is not a 5xx, because after a 5xx caches may continue to serve their copies (stale-if-error, RFC 5861
    section 4).
    """


class ImageTooLarge(GatewayError, status=422, code="image_too_large", message="the image is too large to be processed"):
    """The original is too large for COS to process. Every request for the style gets the same answer.

    The status is 422 and not a 5xx, because a retry cannot succeed and COS works (RFC 9110 section 15.5.21).
    """


class RangeNotSatisfiable(
    GatewayError, status=416, code="range_not_satisfiable", message="the image has no bytes in that range"
):
    """The range starts beyond the end of the image (RFC 9110 section 15.5.17)."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__(f"size is {size} bytes")
        self.size = size
        if size is not None:
            self.headers = {"Content-Range": f"bytes */{size}"}


class PreconditionFailed(
    GatewayError, status=412, code="precondition_failed", message="the image is not the version that was asked for"
):
    """If-Match or If-Unmodified-Since is false (RFC 9110 section 15.5.13)."""


class AccelNotConfigured(
    GatewayError,
    status=500,
    code="accel_not_configured",
    message="nginx is not configured for image_proxy.delivery: accel",
):
    """nginx should send the bytes (``delivery: accel``), but its ``accel.conf`` is not in use."""


class OriginUnavailable(
    GatewayError, status=502, code="origin_unavailable", message="the image store did not respond properly"
):
    """COS could not be reached, or responded with an error that the client did not cause."""


class OriginRefused(OriginUnavailable, code="origin_refused", message="the image store refused the request"):
    """COS refused a URL that was just signed, because of the credentials or a policy."""


class OriginRejected(OriginUnavailable, code="origin_rejected", message="the image store rejected the request"):
    """COS answered 4xx for another reason than the image itself, such as a style that COS rejects."""


class OriginMisconfigured(
    OriginUnavailable, code="origin_misconfigured", message="the image store is not set up as the gateway expects"
):
    """COS has no such bucket, or does not serve the bucket at this domain. The image may exist."""


class OriginSuspended(OriginUnavailable, code="origin_suspended", message="the image store is suspended"):
    """COS answers 402: the account is in arrears."""


class ImageArchived(
    OriginUnavailable, code="image_archived", message="the image is archived and must be restored first"
):
    """The object is in an archive storage class: COS serves it once it is restored."""


class NotAnImage(OriginUnavailable, code="not_an_image", message="the stored object is not an image"):
    """COS sent a type other than ``image/*``. No byte of the object is sent on."""


class OriginTimeout(GatewayError, status=504, code="origin_timeout", message="the image store did not respond in time"):
    """COS did not respond in time."""


# Temporary errors: 503 with Retry-After.


class Unavailable(GatewayError, status=503, code="unavailable", message="try again later"):
    """A temporary error: the request may succeed after ``wait`` seconds, or ``retry_after`` if ``wait`` is None."""

    retry_after: ClassVar[int] = 1

    def __init__(self, *reason: object, wait: float | None = None) -> None:
        super().__init__(*reason)
        self.headers = _retry_after(self.retry_after if wait is None else wait)


class Overloaded(Unavailable, code="overloaded", message="too many images are being sent, try again in a moment"):
    """``server.max_streams`` images are already in flight."""


class OriginThrottled(
    Unavailable, code="origin_throttled", message="the image store asks to slow down, try again in a moment"
):
    """COS responded 503 SlowDown or 429, even after the retries. ``wait``: COS's Retry-After in seconds."""

    retry_after = 2


class OriginPaused(
    Unavailable, code="origin_paused", message="the image store does not respond, try again in a moment"
):
    """Requests to the bucket are paused, because many of its objects failed in a row."""

    retry_after = 2


class CatalogUnavailable(
    Unavailable, code="catalog_unavailable", message="the image catalog does not respond, try again in a moment"
):
    """Postgres did not respond, and the image is not cached."""

    retry_after = 2


class KeysUnavailable(
    Unavailable,
    code="keys_unavailable",
    message="the keys of the identity provider are not known yet, try again in a moment",
):
    """``access.jwt.jwks_url`` has given no key set since the start, so no token can be judged."""

    retry_after = 2


class RedisUnavailable(Unavailable, code="cache_unavailable", message="redis does not respond, try again in a moment"):
    """Redis does not respond, and without Redis the request cannot be answered."""


class TooManyVariants(
    Unavailable, code="too_many_variants", message="too many new variants are being made, try again in a moment"
):
    """Clients requested more new variants (sizes, formats) than ``image_variants.max_new_per_minute``."""

    retry_after = 10


class NoWorker(Unavailable, code="no_worker", message="no worker answers, try again in a moment"):
    """No worker process answers a request to the admin port of the supervisor (the process that started them)."""


class CredentialsExpired(
    Unavailable, code="credentials_expired", message="the image store cannot be reached with the current credentials"
):
    """The temporary COS credentials have expired by the clock or by COS's answer, so no usable URL can be signed."""

    retry_after = 30


class NoCredentials(CredentialsExpired):
    """The source of credentials has no valid credentials now. A refresh is running."""


# The answers to callers who may not see an image, or ask for an image that does not exist.
DENIALS: Final = (ImageNotFound, Unauthorized, KeysUnavailable)


def _retry_after(wait: float) -> Mapping[str, str]:
    """Return the field for ``wait`` in whole seconds, at least 1 and at most 60 (RFC 9110 section 10.2.3)."""
    return {"Retry-After": str(min(_MAX_WAIT, max(1, math.ceil(wait))))}
