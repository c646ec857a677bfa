"""An answer of COS, reduced to what the gateway needs of it."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
from aiohttp import hdrs
from multidict import istr

from gateway.errors import OriginUnavailable
from gateway.origin.errors import BodyLost

# How much is read from COS before the client takes it; the connection is paused at twice as much. Large enough to keep
# system calls rare, small enough that a slow reader holds little and not the image.
READ_AHEAD = 256 * 1024

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_MOST_DIGITS = 20  # of a number of 64 bits
_CRC64 = istr("x-cos-hash-crc64ecma")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes of the object a 206 carries: ``first`` to ``last``, both included, of ``size``."""

    first: int
    last: int
    size: int


class ObjectHeaders(NamedTuple):
    """What COS said of the object; None where it said nothing. ``length`` is that of this body, in bytes."""

    content_type: str | None
    content_encoding: str | None
    length: int | None
    etag: str | None
    last_modified: str | None
    content_range: ContentRange | None
    crc64: int | None


class OriginResponse:
    """An open answer: ``status`` is 200, 206 or 304.

    Raises ``OriginUnavailable`` for an answer whose end could not be told from a lost connection, or whose range does
    not add up: better no image than half of one.
    """

    __slots__ = ("_received", "_response", "has_body", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, *, method: str) -> None:
        self._response = response
        self.status = response.status
        self.headers = headers = _object_headers(response)
        self.has_body = method != "HEAD" and response.status != 304
        self._received = 0
        if self.status == 206:
            covered = headers.content_range
            if covered is None or covered.last - covered.first + 1 != (headers.length or -1):
                self.close()
                raise OriginUnavailable("a 206 whose range and length do not agree")
        elif headers.length is None and self.has_body and headers.crc64 is None and not _is_chunked(response):
            self.close()
            raise OriginUnavailable("a body without length, chunks or checksum")

    async def read(self) -> bytes:
        """The next bytes of the body, however many have come; empty at its end.

        Raises ``BodyLost`` when it breaks off, stalls, or ends short of the announced length, and again if asked again.
        A caller that is cancelled loses nothing: the next call goes on.
        """
        if not self.has_body:
            return b""
        try:
            piece = await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # aiohttp keeps it: its traceback would hold all that led here until the collector comes by.
            raise BodyLost(f"after {self._received} bytes: {type(error).__name__}") from error.with_traceback(None)
        self._received += len(piece)
        if not piece and self.headers.length not in (None, self._received):
            raise BodyLost(f"{self._received} bytes came of {self.headers.length}")
        return piece

    def close(self) -> None:
        """Give the connection back, or close it if the body was not read to its end: the transfer stops."""
        self._response.release()


def _object_headers(response: aiohttp.ClientResponse) -> ObjectHeaders:
    headers = response.headers
    content_range = headers.get(hdrs.CONTENT_RANGE)
    covered = _CONTENT_RANGE.fullmatch(content_range) if content_range is not None else None
    return ObjectHeaders(
        headers.get(hdrs.CONTENT_TYPE),
        headers.get(hdrs.CONTENT_ENCODING),
        _whole_number(headers.get(hdrs.CONTENT_LENGTH)),
        headers.get(hdrs.ETAG),
        headers.get(hdrs.LAST_MODIFIED),
        ContentRange(*map(int, covered.groups())) if covered else None,
        _whole_number(headers.get(_CRC64)),
    )


def _is_chunked(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Transfer-Encoding", "").lower() == "chunked"


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None
