"""Header lines of images, built from scratch, so that no header field of COS reaches a client."""

from functools import lru_cache
from typing import Final

from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.conditions_and_ranges import Plan
from gateway.delivery.prepared_response import fields
from gateway.errors import NotAnImage
from gateway.net.http_fields import content_disposition, is_image
from gateway.objects.content import Content
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import SignedImage

# An SVG that is opened as a page runs no script and loads nothing.
CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
CACHE: Final = "image-gateway; "  # begins Cache-Status
UNREAD: Final = "detail=unread"  # in Cache-Status: the row of the image could not be read
_UNSPECIFIC = frozenset({"", "application/octet-stream", "binary/octet-stream"})

# Any page may show an image, because access was checked before. ``server.cors_origins`` replaces the first field.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": (
        "Accept-Ranges, Age, Cache-Status, Content-Disposition, Content-Length, Content-Range, ETag, Retry-After, "
        "Server-Timing, Vary, X-Error-Code, X-Request-Id"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
}


@lru_cache(maxsize=1024)
def content_type_of(catalog_type: str | None, cos_type: str | None) -> str:
    """Return COS's type, or the catalog's if COS has none. Raises ``NotAnImage`` unless it is image/*."""
    media_type = _media_type(cos_type)
    if media_type in _UNSPECIFIC:
        media_type = _media_type(catalog_type) or media_type
    if not is_image(media_type):
        raise NotAnImage(f"the type is {media_type!r}")
    return media_type


def _media_type(text: str | None) -> str:
    """Return the type without parameters, in lower case. Empty for None."""
    return (text or "").partition(";")[0].strip().lower()


def cache_fields(policy: CachePolicy, *, public: bool) -> dict[str, str]:
    """Return the header fields that say who may keep an answer, and for how long."""
    headers = {"Cache-Control": policy.cache_control(public=public)}
    return headers | {"X-Accel-Expires": "0"} if policy.unread else headers  # nginx keeps nothing, and hides the field


def image_fields(
    image: SignedImage,
    metadata: ObjectMetadata,
    policy: CachePolicy,
    download: str | None,
    *,
    with_body: bool = True,
) -> bytes:
    """Return the header lines that depend only on the object. Raises ``NotAnImage``.

    ``with_body`` False: the fields of a 304 (RFC 9110 section 15.4.5).
    """
    tag = image.record.image_id if policy.has_tags and image.public else None
    return _cached_fields(image.public, image.record.content_type, metadata, policy, download, with_body, tag)


# The same few hundred images are requested over and over.
@lru_cache(maxsize=1024)
def _cached_fields(
    public: bool,
    content_type: str | None,
    metadata: ObjectMetadata,
    policy: CachePolicy,
    download: str | None,
    with_body: bool,
    tag: str | None,
) -> bytes:
    headers = dict(CORS)
    headers |= cache_fields(policy, public=public)
    headers["Accept-Ranges"] = "bytes"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    if not public:
        headers["Vary"] = policy.private_vary
    if tag is not None:
        headers["Cache-Tag"] = f"image-{tag}"
    if metadata.etag is not None:
        headers["ETag"] = metadata.etag
    if metadata.last_modified is not None:
        headers["Last-Modified"] = metadata.last_modified
    if with_body:
        headers["Content-Type"] = content_type_of(content_type, metadata.content_type)
        if metadata.content_encoding is not None:
            headers["Content-Encoding"] = metadata.content_encoding
        elif metadata.size is not None:
            # Firefox displays half an image as if it were whole. Scripts cannot read Content-Length.
            headers["Server-Timing"] = f"size;desc={metadata.size}"
        if download is not None:
            headers["Content-Disposition"] = content_disposition(download)
    return fields(headers).encode(errors="surrogateescape")


def own_fields(content: Content, plan: Plan, cache: str) -> str:
    """Return the header lines that depend on one response. ``cache``: the result of ``cache_status_of``."""
    lines = f"Cache-Status: {CACHE}{cache}\r\n"
    if plan.last is not None:
        lines += f"Content-Range: bytes {plan.first}-{plan.last}/{content.metadata.size}\r\n"
    if content.age is not None:
        lines += f"Age: {int(content.age)}\r\n"  # RFC 9111 section 5.1
    return lines


def cache_status_of(content: Content, *, is_substitute: bool = False, unread: bool = False) -> str:
    """Return the gateway's part of Cache-Status (RFC 9211 section 2).

    is_substitute: another image is sent. unread: the image's row could not be read.
    """
    if content.fresh_for is not None:  # COS was not asked; negative for a stale response (section 2.5)
        status = f"hit; ttl={int(content.fresh_for)}"
    elif content.status is None:  # COS did not answer (RFC 5861 section 4)
        status = "fwd=stale; detail=stale-if-error"
    else:
        reason = "stale" if content.had_stale else "miss"
        more = f"{'; stored' if content.is_stored else ''}{'; collapsed' if content.is_collapsed else ''}"
        status = f"fwd={reason}; fwd-status={content.status}{more}"
    if unread:
        return f"{status}; {UNREAD}"
    if not is_substitute:
        return status
    return f"{status}; detail={'original' if content.image.rendition is None else 'other-format'}"
