"""Outcomes of COS's refusals: COS works, and another attempt gets the same answer."""

from gateway.errors import GatewayError, OriginUnavailable


class ImageTooLarge(GatewayError):
    """COS cannot process an original of that size; every request of the style gets the same answer.

    422 and not a 5xx: a retry cannot succeed, and COS works (RFC 9110 section 15.5.21).
    """

    status = 422
    code = "image_too_large"
    message = "the image is too large to be processed"


class OriginRejected(OriginUnavailable):
    """COS answered 4xx for another reason than the image itself, such as a style that it rejects."""

    code = "origin_rejected"
    message = "the image store rejected the request"


class OriginMisconfigured(OriginUnavailable):
    """COS has no such bucket, or does not serve it at this domain; the image may exist."""

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
