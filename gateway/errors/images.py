"""Errors about an image: its row, its object, and COS's answers."""

from collections.abc import Mapping

from gateway.errors.base import GatewayError


class ImageNotFound(GatewayError):
    """The image is unknown, deleted, or not visible to the caller. The response is the same for all three."""

    status = 404
    code = "image_not_found"
    message = "there is no such image"


class ImageBlocked(GatewayError):
    """COS may not return the object: an audit or a court blocked it (RFC 7725).

    The status is not a 5xx, because after a 5xx caches may continue to serve their copies (stale-if-error, RFC 5861
    section 4).
    """

    status = 451
    code = "image_blocked"
    message = "the image is blocked for legal reasons"


class ImageTooLarge(GatewayError):
    """COS cannot process an original of that size. Every request for the style gets the same answer.

    The status is 422 and not a 5xx, because a retry cannot succeed and COS works (RFC 9110 section 15.5.21).
    """

    status = 422
    code = "image_too_large"
    message = "the image is too large to be processed"


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
        """``Content-Range: bytes */size`` if the size in bytes is known."""
        return {} if self.size is None else {"Content-Range": f"bytes */{self.size}"}


class PreconditionFailed(GatewayError):
    """If-Match or If-Unmodified-Since is false (RFC 9110 section 15.5.13)."""

    status = 412
    code = "precondition_failed"
    message = "the image is not the version that was asked for"


class AccelNotConfigured(GatewayError):
    """nginx passed on a request for ``image_proxy.accel_prefix`` instead of serving it."""

    status = 500
    code = "accel_not_configured"
    message = "nginx is not configured for image_proxy.delivery: accel"


class OriginUnavailable(GatewayError):
    """COS could not be reached, or responded with an error that the client did not cause."""

    status = 502
    code = "origin_unavailable"
    message = "the image store did not respond properly"


class OriginRefused(OriginUnavailable):
    """COS refused a URL that was just signed, because of the credentials or a policy."""

    code = "origin_refused"
    message = "the image store refused the request"


class OriginRejected(OriginUnavailable):
    """COS answered 4xx for another reason than the image itself, such as a style that it rejects."""

    code = "origin_rejected"
    message = "the image store rejected the request"


class OriginMisconfigured(OriginUnavailable):
    """COS has no such bucket, or does not serve the bucket at this domain. The image may exist."""

    code = "origin_misconfigured"
    message = "the image store is not set up as the gateway expects"


class OriginSuspended(OriginUnavailable):
    """COS answers 402: the account is in arrears."""

    code = "origin_suspended"
    message = "the image store is suspended"


class ImageArchived(OriginUnavailable):
    """The object is in an archive storage class: COS serves it once it is restored."""

    code = "image_archived"
    message = "the image is archived and must be restored first"


class NotAnImage(OriginUnavailable):
    """COS sent a type other than ``image/*``. No byte of the object is sent on."""

    code = "not_an_image"
    message = "the stored object is not an image"


class OriginTimeout(GatewayError):
    """COS did not respond in time."""

    status = 504
    code = "origin_timeout"
    message = "the image store did not respond in time"
