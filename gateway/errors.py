"""Every outcome other than success that a client can see: one class each.

Adapters raise these at their own edge, nothing above an adapter knows a vendor's exception, and
``gateway.server.dispatch`` alone turns them into answers.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

_LONGEST_WAIT = 60


class DependencyDown(Exception):
    """A dependency did not answer; by itself no outcome for a client, since something else may stand in for it."""


class GatewayError(Exception):
    """An outcome with an HTTP status and a stable snake_case ``code``.

    ``message`` is what the client reads: it never carries a key, a bucket or a URL. What the exception was raised
    with (``str(error)``) is for the log.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    message: ClassVar[str] = "the gateway failed to answer"
    # False: whoever raises it logs it, so the line of each 5xx is left out.
    logs_each_request: ClassVar[bool] = True

    @property
    def client_message(self) -> str:
        """What the client reads."""
        return self.message

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers the answer must carry beside the body."""
        return {}


class InvalidRequest(GatewayError):
    """The request itself is wrong; ``detail`` is shown to the client, so it must not echo raw input."""

    status = 400
    code = "invalid_request"
    message = "the request is not valid"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.message)
        self._detail = detail or self.message

    @property
    def client_message(self) -> str:
        """What exactly is wrong."""
        return self._detail


class InvalidImageId(InvalidRequest):
    """The id is not 1 to 128 of ``A-Z a-z 0-9 . _ : @ -`` with a letter or digit first."""

    code = "invalid_image_id"
    message = "an image id is 1 to 128 of A-Z a-z 0-9 . _ : @ - and starts with a letter or digit"


class UnknownStyle(InvalidRequest):
    """``?style=`` names no style of ``image_styles``."""

    code = "unknown_style"
    message = "there is no image style of that name"


class Unauthorized(GatewayError):
    """No credential where one is needed, or a bad one (RFC 9110 section 15.5.2)."""

    status = 401
    code = "unauthorized"
    message = "valid credentials are needed"

    @property
    def headers(self) -> Mapping[str, str]:
        """The challenge that RFC 9110 section 11.6.1 asks for with every 401."""
        return {"WWW-Authenticate": 'Bearer realm="image-gateway"'}


class Forbidden(GatewayError):
    """Nobody may do this as the gateway is configured (RFC 9110 section 15.5.4)."""

    status = 403
    code = "forbidden"
    message = "admin.token is not configured, so nobody may do this"


class RouteNotFound(GatewayError):
    """There is nothing at this path."""

    status = 404
    code = "not_found"
    message = "there is nothing at this address"


class MethodNotAllowed(GatewayError):
    """The path is there, the method is not (RFC 9110 section 15.5.6)."""

    status = 405
    code = "method_not_allowed"
    message = "this address does not take that method"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"allowed: {allowed}")
        self._allowed = allowed

    @property
    def headers(self) -> Mapping[str, str]:
        """What the path does take."""
        return {"Allow": self._allowed}


class RequestTimeout(GatewayError):
    """The client did not send its request in time (RFC 9110 section 15.5.9)."""

    status = 408
    code = "request_timeout"
    message = "the request did not arrive in time"

    @property
    def headers(self) -> Mapping[str, str]:
        """Nobody waits for the rest."""
        return {"Connection": "close"}


class PayloadTooLarge(GatewayError):
    """The body is larger than any valid one could be."""

    status = 413
    code = "payload_too_large"
    message = "the request body is too large"


class ImageNotFound(GatewayError):
    """Unknown, deleted, or not the caller's: one and the same answer."""

    status = 404
    code = "image_not_found"
    message = "there is no such image"


class ImageBlocked(GatewayError):
    """COS may not give the object out: an audit or a court has it blocked (RFC 7725).

    Not a 5xx, for which caches may keep showing what they have (stale-if-error, RFC 5861 section 4).
    """

    status = 451
    code = "image_blocked"
    message = "the image is blocked for legal reasons"


class RangeNotSatisfiable(GatewayError):
    """The range starts beyond the end of the image (RFC 9110 section 15.5.17)."""

    status = 416
    code = "range_not_satisfiable"
    message = "the image has no bytes in that range"

    def __init__(self, size: int | None = None) -> None:
        super().__init__(f"size is {size} bytes")
        self.size = size

    @property
    def headers(self) -> Mapping[str, str]:
        """``Content-Range: bytes */size`` when the size in bytes is known."""
        return {} if self.size is None else {"Content-Range": f"bytes */{self.size}"}


class PreconditionFailed(GatewayError):
    """If-Match or If-Unmodified-Since does not hold (RFC 9110 section 15.5.13)."""

    status = 412
    code = "precondition_failed"
    message = "the image is not the version that was asked for"


class AccelNotConfigured(GatewayError):
    """nginx passed a request for ``image_proxy.accel_prefix`` on instead of serving it."""

    status = 500
    code = "accel_not_configured"
    message = "nginx is not configured for image_proxy.delivery: accel"
    logs_each_request = False


class OriginUnavailable(GatewayError):
    """COS could not be reached, or answered with an error that is not the client's fault."""

    status = 502
    code = "origin_unavailable"
    message = "the image store did not answer properly"


class OriginRefused(OriginUnavailable):
    """COS refused a URL signed this moment: wrong credentials, or a policy."""

    code = "origin_refused"
    message = "the image store refused the request"


class NotAnImage(OriginUnavailable):
    """COS sent something that is not ``image/*``; nothing of it leaves."""

    code = "not_an_image"
    message = "the stored object is not an image"


class OriginTimeout(GatewayError):
    """COS did not answer in time."""

    status = 504
    code = "origin_timeout"
    message = "the image store did not answer in time"


class Unavailable(GatewayError):
    """Not now: the same request may succeed after ``retry_after`` seconds."""

    status = 503
    code = "unavailable"
    message = "try again later"
    retry_after: ClassVar[int] = 1

    @property
    def headers(self) -> Mapping[str, str]:
        """When to come back, in whole seconds (RFC 9110 section 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class Overloaded(Unavailable):
    """``server.max_streams`` images are in flight already."""

    code = "overloaded"
    message = "too many images are being sent, try again in a moment"


class OriginThrottled(Unavailable):
    """COS answered 503 SlowDown, also after the retries; ``wait`` is how many seconds it asked for, if it did."""

    code = "origin_throttled"
    message = "the image store asks to slow down, try again in a moment"
    retry_after = 2

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self._wait = wait

    @property
    def headers(self) -> Mapping[str, str]:
        """The time COS asked for, within bounds that a client can be expected to keep."""
        wait = self.retry_after if self._wait is None else min(_LONGEST_WAIT, max(1, math.ceil(self._wait)))
        return {"Retry-After": str(wait)}


class OriginPaused(Unavailable):
    """So many objects of the bucket have failed in a row that it is left alone for a moment."""

    code = "origin_paused"
    message = "the image store does not answer, try again in a moment"
    retry_after = 2


class CatalogUnavailable(Unavailable):
    """Postgres did not answer and nothing cached can stand in for it."""

    code = "catalog_unavailable"
    message = "the image catalog does not answer, try again in a moment"
    retry_after = 2


class CacheIsAway(Unavailable):
    """Redis does not answer, and what was asked for is about Redis itself."""

    code = "cache_unavailable"
    message = "redis does not answer, try again in a moment"


class CredentialsExpired(Unavailable):
    """The temporary COS credentials have run out, by the clock or by COS's word: no usable URL can be signed."""

    code = "credentials_expired"
    message = "the image store cannot be reached with the present credentials"
    retry_after = 30
