"""Outcomes for what COS refuses by a code of its own: nothing is wrong with COS, and another try gets the same."""

from gateway.errors import GatewayError, OriginUnavailable


class ImageTooLarge(GatewayError):
    """COS cannot process an original of that size; the same style of it is never answered otherwise.

    Not a 5xx: to ask again is of no use, and nothing is wrong with COS (RFC 9110 section 15.5.21).
    """

    status = 422
    code = "image_too_large"
    message = "the image is too large to be processed"


class OriginRejected(OriginUnavailable):
    """COS answered with an error of the 4xx class that says nothing about the image, such as for a style it rejects."""

    code = "origin_rejected"
    message = "the image store rejected the request"


class OriginMisconfigured(OriginUnavailable):
    """COS knows no such bucket, or not by this domain; nothing is said about the image."""

    code = "origin_misconfigured"
    message = "the image store is not set up as the gateway expects"


class OriginSuspended(OriginUnavailable):
    """COS answers 402: the account is in arrears."""

    code = "origin_suspended"
    message = "the image store is suspended"


class ImageArchived(OriginUnavailable):
    """The object is in an archive storage class: COS gives it out once it is restored."""

    code = "image_archived"
    message = "the image is archived and must be restored first"
