"""An answer of COS, reduced to what the gateway needs of it."""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import aiohttp
from fastcrc import crc64

from gateway.errors import OriginUnavailable
from gateway.origin.errors import BodyLost

# Large enough to keep system calls rare, small enough that a slow reader holds tens of KiB and not the image.
PIECE = 64 * 1024

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,20}")  # of 64 bits


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes of the object a 206 carries: ``first`` to ``last``, both included, of ``size``."""

    first: int
    last: int
    size: int

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}/{self.size}"


@dataclass(frozen=True, slots=True)
class ObjectHeaders:
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

    def __init__(self, response: aiohttp.ClientResponse, *, method: str) -> None:
        self._response = response
        self.status = response.status
        self.headers = _object_headers(response)
        self.has_body = method != "HEAD" and response.status != 304
        headers = self.headers
        if self.status == 206:
            covered = headers.content_range
            if covered is None or covered.last - covered.first + 1 != (headers.length or -1):
                raise OriginUnavailable("a 206 whose range and length do not agree")
        elif self.has_body and headers.length is None and headers.crc64 is None and not _is_chunked(response):
            raise OriginUnavailable("a body without length, chunks or checksum")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces of at most ``PIECE`` bytes.

        A clean end means a whole body: raises ``BodyLost`` when it breaks off, stalls, has not the announced length,
        or does not match COS's CRC-64 of the object (``x-cos-hash-crc64ecma``, COS document 40334).
        """
        if not self.has_body:
            return
        received = checksum = 0
        try:
            async for piece in self._response.content.iter_chunked(PIECE):
                received += len(piece)
                checksum = crc64.xz(piece, checksum)
                if received == self.headers.length:
                    self._verify(checksum)  # before the last piece leaves: after it, the client has a whole body
                yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BodyLost(f"after {received} bytes: {type(error).__name__}") from error
        if self.headers.length is None:
            self._verify(checksum)
        elif received != self.headers.length:
            raise BodyLost(f"{received} bytes came of {self.headers.length}")

    def _verify(self, checksum: int) -> None:
        # On a 206 the header still is that of the whole object.
        if self.status == 200 and self.headers.crc64 not in (None, checksum):
            raise BodyLost("the bytes do not have the object's checksum")


def _object_headers(response: aiohttp.ClientResponse) -> ObjectHeaders:
    headers = response.headers
    covered = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return ObjectHeaders(
        content_type=headers.get("Content-Type"),
        content_encoding=headers.get("Content-Encoding"),
        length=_whole_number(headers.get("Content-Length")),
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        content_range=ContentRange(*map(int, covered.groups())) if covered else None,
        crc64=_whole_number(headers.get("x-cos-hash-crc64ecma")),
    )


def _is_chunked(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Transfer-Encoding", "").lower() == "chunked"


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and _WHOLE_NUMBER.fullmatch(text) else None
