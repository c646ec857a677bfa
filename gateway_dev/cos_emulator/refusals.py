"""COS's errors: status, code, message (doc 7730) and XML body."""

import re
from datetime import UTC, datetime
from xml.sax.saxutils import escape


class Refusal(Exception):
    """An error answer of COS. ``nodes``: further (name, text) elements, sent between Message and Resource."""

    def __init__(self, status: int, code: str, message: str, nodes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.nodes = nodes

    def xml(self, *, resource: str, request_id: str, trace_id: str) -> bytes:
        nodes = (
            ("Code", self.code),
            ("Message", self.message),
            *self.nodes,
            ("Resource", resource),
            ("RequestId", request_id),
            ("TraceId", trace_id),
        )
        lines = "".join(f"\t<{name}>{_xml_text(text)}</{name}>\n" for name, text in nodes)
        return f"<?xml version='1.0' encoding='utf-8' ?>\n<Error>\n{lines}</Error>\n".encode()


def access_denied(message: str = "Access Denied.") -> Refusal:
    return Refusal(403, "AccessDenied", message)


def request_expired(now: float) -> Refusal:
    """Return the error of an expired URL. SDKs correct their clocks by its ServerTime. ``now``: Unix seconds."""
    server_time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Refusal(403, "AccessDenied", "Request has expired", (("ServerTime", server_time),))


def request_time_too_skewed() -> Refusal:
    message = "The difference between the request time and the current time is too large."
    return Refusal(403, "RequestTimeTooSkewed", message)


def invalid_access_key_id() -> Refusal:
    return Refusal(403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records")


def expired_token() -> Refusal:
    return Refusal(400, "ExpiredToken", "The provided token has expired.")


def signature_does_not_match(string_to_sign: str, http_string: str) -> Refusal:
    nodes = (("StringToSign", string_to_sign), ("FormatString", http_string))
    return Refusal(403, "SignatureDoesNotMatch", "The Signature you specified is invalid.", nodes)


def invalid_argument(message: str) -> Refusal:
    return Refusal(400, "InvalidArgument", message)


def no_such_bucket() -> Refusal:
    return Refusal(404, "NoSuchBucket", "The specified bucket does not exist.")


def no_such_key() -> Refusal:
    return Refusal(404, "NoSuchKey", "The specified key does not exist.")


def method_not_allowed() -> Refusal:
    return Refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")


def invalid_object_state() -> Refusal:
    message = "The operation is not valid for the object's storage class."
    return Refusal(403, "InvalidObjectState", message)


def precondition_failed() -> Refusal:
    return Refusal(412, "PreconditionFailed", "Precondition not match.")


def invalid_range() -> Refusal:
    return Refusal(416, "InvalidRange", "The requested range cannot be satisfied.")


def image_too_large() -> Refusal:
    return Refusal(400, "ImageTooLarge", "The image is too large to be processed.")


def image_resolution_exceeded() -> Refusal:
    """Return the error of a picture with too many pixels or frames."""
    return Refusal(400, "ImageResolutionExceed", "The resolution of the image exceeds the limit.")


def invalid_image_format() -> Refusal:
    """Return the error of a file that is no picture, or none that can be decoded."""
    return Refusal(400, "InvalidImageFormat", "The format of the image is not supported.")


def avif_not_enabled() -> Refusal:
    """Return the error of AVIF in a bucket where AVIF is off. COS's own error for this is not documented."""
    return Refusal(400, "InvalidRequest", "AVIF is not enabled for this bucket.")


# XML 1.0 section 2.2 allows no other characters in a document, not even as references.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml_text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
