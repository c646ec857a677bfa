"""The headers that leave with an image: built from nothing, so that none of COS's own can slip through."""

import re

from multidict import CIMultiDict

from gateway.catalog.record import ImageRecord
from gateway.delivery.image_request import content_disposition
from gateway.errors import NotAnImage
from gateway.origin.response import ObjectHeaders

# An image is shown, nothing else: an SVG opened by itself runs no script and loads nothing.
_CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_STALE_WHILE_REVALIDATE = 300
_STALE_IF_ERROR = 86_400
_IMAGE = re.compile(r"image/[a-z0-9!#$&^_.+-]+")  # RFC 6838 section 4.2
_NOT_TOLD = frozenset({"", "application/octet-stream", "binary/octet-stream"})

# Any page may show an image it has an address for; who may have it is decided before. Nothing here varies by origin.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag, X-Request-Id, Cache-Status, Server-Timing",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def content_type_of(record: ImageRecord, origin: ObjectHeaders) -> str:
    """The type to send: COS's, or the catalog's where COS does not know; raises ``NotAnImage`` unless it is image/*."""
    told = _media_type(origin.content_type)
    if told in _NOT_TOLD:
        told = _media_type(record.content_type) or told
    if not _IMAGE.fullmatch(told):
        raise NotAnImage(f"the type is {told!r}")
    return told


def _media_type(text: str | None) -> str:
    """Without its parameters; empty when there is none."""
    return (text or "").partition(";")[0].strip().lower()


def cache_control(record: ImageRecord, max_age: int) -> str:
    """Shared caches may keep a public image, and serve it stale while they ask again or we fail (RFC 5861)."""
    if record.public:
        return (
            f"public, max-age={max_age}, stale-while-revalidate={_STALE_WHILE_REVALIDATE}, "
            f"stale-if-error={_STALE_IF_ERROR}"
        )
    return f"private, max-age={max_age}"


def image_headers(
    record: ImageRecord,
    origin: ObjectHeaders,
    *,
    max_age: int,
    download: str | None,
    partial: bool,
    with_body: bool,
) -> "CIMultiDict[str]":
    """Everything but what depends on the connection; ``with_body`` is False for a 304 (RFC 9110 section 15.4.5)."""
    headers = CIMultiDict(CORS)
    headers["Cache-Control"] = cache_control(record, max_age)
    headers["Accept-Ranges"] = "bytes"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    if not record.public:
        headers["Vary"] = "Authorization"
    if origin.etag is not None:
        headers["ETag"] = origin.etag
    if origin.last_modified is not None:
        headers["Last-Modified"] = origin.last_modified
    if not with_body:
        return headers
    headers["Content-Type"] = content_type_of(record, origin)
    if origin.content_encoding is not None:
        headers["Content-Encoding"] = origin.content_encoding
    if origin.length is not None:
        headers["Content-Length"] = str(origin.length)
    if partial:
        headers["Content-Range"] = str(origin.content_range)
    if download is not None:
        headers["Content-Disposition"] = content_disposition(download)
    return headers
