"""Responses whose header lines are serialized before: the parts of their head, and how they are sent with their body.

aiohttp builds and serializes the head of every response again, twenty fields for an image: a third of the time that a
response from memory takes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

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
