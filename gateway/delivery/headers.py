"""Header lines of responses, and the responses that send them with their body.

The lines of images are built from scratch, so that no header field of COS reaches a client. Constant lines are
serialized once. aiohttp builds and serializes the head of every response again, twenty fields for an image: a third of
the time that a response from memory takes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from gateway.errors import NotAnImage
from gateway.net.http_fields import content_disposition, is_image

if TYPE_CHECKING:  # the supervisor of workers loads nothing of images
    from gateway.delivery.cache_policy import CachePolicy
    from gateway.delivery.conditions_and_ranges import Plan
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
# Bytes of a body that are copied behind the head, so that a client is not woken only for a head. The rest is written
# in pieces, since another system call is cheaper than a copy.
COPIED: Final = 128 * 1024
# The most bytes to write before the client has to read. They bound the buffer of a slow client.
_WRITTEN_AT_ONCE: Final = 1024 * 1024
_STATUS_LINES = {
    (minor, status): f"HTTP/1.{minor} {status} {HTTPStatus(status).phrase}\r\n".encode()
    for minor in (0, 1)
    for status in (200, 206, 302, 304)
}
_CONNECTION: Final = {True: "Connection: close\r\n", False: "Connection: keep-alive\r\n"}


def fields(headers: Mapping[str, str]) -> str:
    """Return the header lines of a response. Raises ``ValueError`` for a value that contains a line break or NUL."""
    lines = "\r\n".join([*map(": ".join, headers.items()), ""])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("a header field cannot be sent")  # RFC 9110 section 5.5
    return lines


@dataclass(slots=True)
class Prepared:
    """A response ready to be sent to a client: the status, the header lines and the body.

    fixed: header lines serialized before.
    own: header lines of only this response. Date, Content-Length and Connection are added.
    length: the Content-Length. None: the response has no such field.
    cache: the gateway's part of Cache-Status (RFC 9211): hit, or why not. None: the response has no such field.
    """

    fixed: bytes
    own: str
    body: bytes
    status: int
    length: int | None
    cache: str | None

    @classmethod
    def of(cls, fixed: bytes, own: str, body: bytes) -> "Prepared":
        """Return a 200."""
        return Prepared(fixed, own, body, 200, len(body), None)

    def headers(self) -> "CIMultiDict[str]":
        """Return the header fields, without those that are added."""
        lines = (self.fixed.decode(errors="surrogateescape") + self.own).split("\r\n")
        return CIMultiDict((line.split(": ", 1)[0], line.split(": ", 1)[1]) for line in lines if line)

    def whole(self) -> bytes:
        """Return head and body in HTTP/1.1, for a connection that takes another request."""
        return b"".join((*self.head(True, ""), self.body))

    def head(self, is_current: bool, connection: str) -> tuple[bytes, bytes, bytes]:
        """Return the parts of the head in HTTP/1.1, or in HTTP/1.0. ``connection`` is a header line or empty."""
        length = f"Content-Length: {self.length}\r\n" if self.length is not None else ""
        own = f"{self.own}Date: {_date(int(time.time()))}\r\n{length}{connection}\r\n"
        return _STATUS_LINES[is_current, self.status], self.fixed, own.encode(errors="surrogateescape")


class PreparedResponse(web.StreamResponse):
    """An aiohttp response that sends a ``Prepared`` (a response whose header lines are serialized)."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__(status=prepared.status)
        self.whole = prepared
        self._request: web.BaseRequest | None = None
        self._keeps_alive: bool | None = None
        self._is_sent = False

    @property
    def prepared(self) -> bool:
        """Whether the response was sent. Head and body are sent together."""
        return self._is_sent

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection takes another request. None before the response is sent."""
        return self._keeps_alive

    async def send(self, request: web.BaseRequest) -> None:
        """Send head and body. Raises ``ConnectionError`` if the client has disconnected."""
        self._is_sent = True
        forced = super().keep_alive
        self._keeps_alive = request.keep_alive if forced is None else forced
        is_current = request.version >= HttpVersion11
        # Sent only if it is not the protocol's default (RFC 9112 section 9.3).
        connection = "" if self._keeps_alive is is_current else _CONNECTION[is_current]
        body = self.whole.body
        head = self.whole.head(is_current, connection)
        if len(body) <= COPIED:
            await request.writer.write_eof(b"".join((*head, body)))
        else:
            await _write(request.writer, b"".join(head), body)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing: ``write_eof`` sends everything at once."""
        self._request = request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the response unless ``send`` did."""
        assert not data, "the whole body was given to the constructor"  # noqa: S101
        if not self._is_sent:
            assert self._request is not None, "aiohttp prepares an answer before it ends it"  # noqa: S101
            await self.send(self._request)


async def _write(writer: AbstractStreamWriter, head: bytes, body: bytes) -> None:
    view = memoryview(body)
    await writer.write(b"".join((head, view[:COPIED])))
    for start in range(COPIED, len(view), _WRITTEN_AT_ONCE):
        await writer.write(view[start : start + _WRITTEN_AT_ONCE])
    await writer.write_eof()


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Return the date in the format of RFC 9110 section 5.6.7."""
    return formatdate(second, usegmt=True)


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


def cache_fields(policy: "CachePolicy", *, public: bool) -> dict[str, str]:
    """Return the header fields that say who may keep an answer, and for how long."""
    headers = {"Cache-Control": policy.cache_control(public=public)}
    return headers | {"X-Accel-Expires": "0"} if policy.unread else headers  # nginx keeps nothing, and hides the field


def image_fields(
    image: "SignedImage",
    metadata: "ObjectMetadata",
    policy: "CachePolicy",
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
    metadata: "ObjectMetadata",
    policy: "CachePolicy",
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


def own_fields(content: "Content", plan: "Plan", cache: str) -> str:
    """Return the header lines that depend on one response. ``cache``: the result of ``cache_status_of``."""
    lines = f"Cache-Status: {CACHE}{cache}\r\n"
    if plan.last is not None:
        lines += f"Content-Range: bytes {plan.first}-{plan.last}/{content.metadata.size}\r\n"
    if content.age is not None:
        lines += f"Age: {int(content.age)}\r\n"  # RFC 9111 section 5.1
    return lines


def cache_status_of(content: "Content", *, is_substitute: bool = False, unread: bool = False) -> str:
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
