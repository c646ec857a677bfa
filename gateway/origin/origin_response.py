"""One exchange with COS over a persistent connection: the request, the header of the answer, and its body."""

import asyncio
import re
import select
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Self, cast

import aiohttp
import yarl
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from multidict import istr

from gateway.concurrency.time_limits import SharedTimeout
from gateway.errors import OriginUnavailable, without_traceback
from gateway.origin.cos_errors import (
    REQUEST_ID,
    BodyLost,
    BodyTooSlow,
    ConnectionLost,
    CosError,
    NothingSent,
    parse_error,
)

_CONNECT_TIMEOUT: Final = 5.0  # seconds
_MOST_ORIGINS: Final = 256
_FIXED_FIELDS: Final = "Accept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: image-gateway\r\n"
_UNSAFE_IN_FIELD: Final = re.compile(r"[\r\n\x00]")
# What poll(2) reports once the peer has closed or reset the connection; only Linux reports a FIN.
_CLOSED: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
_PEER_CLOSED: Final = "a kept-alive connection was closed"
_UNASKED: Final = "a kept-alive connection had bytes that were not asked for"

# Bytes to read ahead for a reader that never waits. The connection is paused at twice as many.
_READ_AHEAD: Final = 256 * 1024
# Bytes that one system call may receive: for a reader that never waits, for a slow one, and for one that did not read
# for a while. Large values make system calls rare, small ones save memory.
_FAST_RECEIVE: Final = 256 * 1024
_SLOW_RECEIVE: Final = 64 * 1024
_TRICKLE_RECEIVE: Final = 16 * 1024
_A_WHILE: Final = 0.05  # seconds
# Bytes not yet decrypted at which receiving over TLS pauses, and resumes. More than a record (RFC 8446 section 5.2).
_MOST_ENCRYPTED, _LEAST_ENCRYPTED = 32 * 1024, 20 * 1024
# More than the buffers on the way to a client that reads nothing: after this, only time distinguishes a slow client.
_PROVEN: Final = 448 * 1024
# Bytes a second that COS has to send while the gateway waits for it. A client has to read as many.
_MIN_RATE: Final = 1024
_MOST_OF_ERROR: Final = 4096  # bytes of a body that names the code in its first line
_MOST_DIGITS: Final = 20  # of a number of 64 bits
_CRC64: Final = istr("x-cos-hash-crc64ecma")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes of the object that a 206 carries: ``first`` to ``last``, both included, of ``size``."""

    first: int
    last: int
    size: int

    def is_rest(self, first: int, end: int | None) -> bool:
        """Return whether these are the bytes from ``first`` up to ``end`` (excluded. None: the end of the object)."""
        return self.first == first and self.last + 1 == (self.size if end is None else end)


class ObjectMetadata(NamedTuple):
    """COS's metadata of a version of an object, the same for a part and the whole. None for values that were not sent.

    ``size`` in bytes is None for a chunked body that has not ended yet.
    """

    size: int | None
    etag: str | None
    last_modified: str | None
    content_type: str | None
    content_encoding: str | None

    def is_version_of(self, other: "ObjectMetadata") -> bool:
        """Return whether both are of the same bytes. False without an entity tag."""
        return self.etag is not None and self.etag == other.etag and self.size == other.size

    def contradicts(self, other: "ObjectMetadata") -> bool:
        """Return whether tag or size show that these are other bytes."""
        pairs = ((self.etag, other.etag), (self.size, other.size))
        return any(None not in pair and pair[0] != pair[1] for pair in pairs)

    def confirm(self, kept: "ObjectMetadata") -> bool:
        """Return whether a 304 with this confirms ``kept``. COS's tag, of the bytes, survives a change of type."""
        return self.etag in (None, kept.etag) and self.content_type in (None, kept.content_type)

    @property
    def strong_etag(self) -> str | None:
        """The entity tag if it is strong (RFC 9110 section 8.8.1), else None."""
        return self.etag if self.etag is not None and self.etag.startswith('"') else None


class AnswerHead(NamedTuple):
    """The header of a successful answer of COS: ``status`` is 200, 206 or 304.

    length: of the body in bytes, and ``crc64`` of the whole object. None where COS sent none.
    content_range: None unless it is a 206.
    origin_etag: the entity tag that COS sent. ``metadata`` of a processed object has none.
    """

    status: int
    metadata: ObjectMetadata
    length: int | None
    content_range: ContentRange | None = None
    crc64: int | None = None
    has_body: bool = True
    origin_etag: str | None = None


@dataclass(slots=True, eq=False)
class OriginResponse:
    """An answer of COS whose header has come: an error, or a success of which ``accept`` has set ``head``.

    ``shared_timeout`` bounds each wait for the next bytes, and waits of this total length must bring 1 KiB a second:
    otherwise single bytes would hold a connection without end.
    """

    status: int
    headers: Mapping[str, str]
    content: aiohttp.StreamReader
    connection: Connection | None  # None once the body has come to its end
    shared_timeout: SharedTimeout
    head: AnswerHead = field(init=False)
    _received: int = 0
    _received_at_check: int = 0
    _receive: int = _FAST_RECEIVE
    _is_held: bool = False
    _is_trickle: bool = False
    _returned_at: float = 0.0
    _waited: float = 0.0  # seconds since the rate was checked last, without the time that readers take

    def __post_init__(self) -> None:
        self.content.on_eof(self._give_back)

    def accept(self, method: str, *, is_processed: bool) -> Self:
        """Return this answer to ``method`` as a success.

        COS may repeat the checksum and the entity tag of the original on a processed image: neither is used. Raises
        ``OriginUnavailable`` for a response whose end cannot be distinguished from a lost connection, or whose range
        does not match its length: no image is better than half of one.
        """
        status, headers = self.status, self.headers
        length = _whole_number(headers.get(hdrs.CONTENT_LENGTH))
        crc64 = None if is_processed else checksum_in(headers)
        covered = _content_range_in(status, headers)
        metadata = metadata_in(status, headers)
        has_body, etag = method != hdrs.METH_HEAD and status != 304, metadata.etag
        if is_processed:
            metadata = metadata._replace(etag=None)
        self.head = AnswerHead(status, metadata, length, covered, crc64, has_body, etag)
        if status == 206:
            if covered is None or covered.last - covered.first + 1 != (length or -1):
                self.close()
                raise OriginUnavailable("a 206 whose range and length do not agree")
        elif length is None and has_body and crc64 is None and not is_chunked(headers):
            self.close()
            raise OriginUnavailable("a body without length, chunks or checksum")
        return self

    async def read_error(self, shared_timeout: SharedTimeout) -> CosError:
        """Return the error in the body's first 4 KiB, and close the answer. ``code`` is None without them in time."""
        body = b""
        try:
            with shared_timeout.limit():
                while len(body) < _MOST_OF_ERROR and (piece := await self.content.read(_MOST_OF_ERROR - len(body))):
                    body += piece
        except (aiohttp.ClientError, OSError):  # a time-out is an OSError, too
            pass
        finally:
            self.close()
        return parse_error(self.status, self.headers.get(hdrs.DATE), body, self.headers.get(REQUEST_ID))

    async def read(self) -> bytes:
        """Return the next bytes of the body, however many have come. They are empty at its end.

        Raises ``BodyLost`` when it breaks off or stalls, and again on the next call; ``BodyTooSlow`` when COS sends
        less than 1 KiB a second. After a call that was cancelled, the next one continues without loss.
        """
        if not self.head.has_body:
            return b""
        content, began = self.content, time.monotonic()
        self._is_trickle = began - self._returned_at > _A_WHILE and self._received > 0
        if self._is_trickle:
            self._set_receive(_TRICKLE_RECEIVE)
        try:
            piece = content.read_nowait()
            if not piece and not content.at_eof():
                if self._is_held and (transport := self.transport) is not None:
                    transport.resume_reading()
                self._is_held = False
                with self.shared_timeout.limit():
                    piece = await content.readany()
                self._returned_at = time.monotonic()
                self._waited += self._returned_at - began
            else:
                self._returned_at = began
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError, too
            self.close()
            # aiohttp keeps the error.
            raise BodyLost(f"after {self._received} bytes: {type(error).__name__}") from without_traceback(error)
        self._received += len(piece)
        if self._waited >= self.shared_timeout.seconds and self._received != self.head.length:
            self._check_rate()
        return piece

    def read_nowait(self) -> bytes:
        """Return the bytes that have arrived. Empty if none have, or if the connection failed: ``read`` raises that."""
        content = self.content
        piece = content.read_nowait() if content.exception() is None else b""
        self._received += len(piece)
        return piece

    def close(self) -> None:
        """Close the connection if the body was not read to its end: the transfer stops, and a reader gets an error."""
        if self.connection is not None:
            if self.content.exception() is None:
                self.content.set_exception(aiohttp.ClientConnectionError("closed"))
            self._give_back()

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection's transport. None once the whole body has arrived."""
        return self.connection.transport if self.connection is not None else None

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to the reader's client, so that a slow one needs little memory.

        ``has_unsent``: the kernel has not sent all bytes read so far. ``is_blocked``: the kernel did not accept some of
        them. Then nothing more is received until the next ``read``, because the kernel's buffer reads ahead enough.
        """
        if is_blocked:
            if (self._is_trickle or self._received < _PROVEN) and (transport := self.transport) is not None:
                transport.pause_reading()
                self._is_held = True
        elif has_unsent and self._received < _PROVEN:
            self._set_receive(_SLOW_RECEIVE)
        elif not self._is_trickle:
            self._set_receive(_FAST_RECEIVE)

    def _give_back(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()

    def _set_receive(self, most: int) -> None:
        if most != self._receive and (transport := self.transport) is not None:
            _set_receive(transport, most)
            self._receive = most

    def _check_rate(self) -> None:
        came = self._received - self._received_at_check
        if came < _MIN_RATE * self._waited:
            self.close()
            raise BodyTooSlow(f"{came} bytes came in {self._waited:.1f} s")
        self._received_at_check, self._waited = self._received, 0.0


async def read_at_most(read: Callable[[], Awaitable[bytes]], most: int) -> bytes | None:
    """Return the whole body by ``read``, or None if it has more than ``most`` bytes. Raises what ``read`` raises."""
    pieces, size = [], 0
    while piece := await read():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            return None
    return b"".join(pieces)


def _set_receive(transport: asyncio.Transport, most: int) -> None:
    """Set the bytes that a system call may receive, for which a TLS connection has a buffer.

    By default asyncio also receives half a megabyte of encrypted bytes while the reader is paused: lower that limit.
    """
    tls = getattr(transport, "_ssl_protocol", None)
    if tls is None:
        cast("Any", transport).max_size = most
        return
    cast("Any", transport).set_read_buffer_limits(high=_MOST_ENCRYPTED, low=_LEAST_ENCRYPTED)
    if tls.max_size != most:
        tls.max_size = most
        tls._ssl_buffer = bytearray(most)  # noqa: SLF001 - made when the connection was
        tls._ssl_buffer_view = memoryview(tls._ssl_buffer)  # noqa: SLF001


def _content_range_in(status: int, headers: Mapping[str, str]) -> ContentRange | None:
    """Return the range of a 206, or None if its ``Content-Range`` does not name first, last and size."""
    covered = _CONTENT_RANGE.fullmatch(headers.get(hdrs.CONTENT_RANGE, "")) if status == 206 else None
    return ContentRange(*map(int, covered.groups())) if covered is not None else None


def metadata_in(status: int, headers: Mapping[str, str]) -> ObjectMetadata:
    """Return the metadata of the object in the header of a response, of the whole or of a part."""
    covered = _content_range_in(status, headers)
    return ObjectMetadata(
        _whole_number(headers.get(hdrs.CONTENT_LENGTH)) if covered is None else covered.size,
        headers.get(hdrs.ETAG),
        headers.get(hdrs.LAST_MODIFIED),
        headers.get(hdrs.CONTENT_TYPE),
        headers.get(hdrs.CONTENT_ENCODING),
    )


def checksum_in(headers: Mapping[str, str]) -> int | None:
    """Return COS's CRC-64 of the whole object, or None without one."""
    return _whole_number(headers.get(_CRC64))


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Return whether the body ends with its last chunk."""
    return headers.get(hdrs.TRANSFER_ENCODING, "").lower() == "chunked"


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


# Returns the context of a request, given its method and URL. The context gets the status and COS's request id.
ObserveRequest = Callable[[str, yarl.URL], AbstractContextManager[Callable[[int, str | None], None]]]


class _Protocol(ResponseHandler):
    """A connection that passes its errors to the body that it receives.

    aiohttp does not pass that of malformed chunks: the reader of the body would wait for bytes until its time-out.
    """

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        body = self._payload
        if body is not None and body.exception() is None and not body.is_eof():
            body.set_exception(aiohttp.ClientPayloadError(str(exc)), exc)
        super().set_exception(exc, *cause)


class CosConnections:
    """Sends requests to COS over persistent connections, each once: no redirect, cookie, decompression or retry.

    aiohttp's connector and parser do the work. Its session would take as long again as these two, for what no request
    to COS needs, and it would repeat a GET whose connection is lost, without the counters and the retry budget.

    timeout: seconds for each wait for the next bytes of a body.
    observe: makes the context in which a request is sent.
    """

    def __init__(
        self, connector: aiohttp.BaseConnector, *, timeout: float, observe: ObserveRequest | None = None
    ) -> None:
        self._connector = connector
        cast("Any", connector)._factory = partial(_Protocol, loop=asyncio.get_running_loop())  # noqa: SLF001
        self._shared_timeout = SharedTimeout(timeout)
        # The client bounds the waits for a response and for its next bytes; ``connect`` bounds a new connection: name
        # look-up, a free place, handshakes.
        self._timeout = aiohttp.ClientTimeout(None, timeout, None, min(_CONNECT_TIMEOUT, timeout))
        self._observe = observe
        self._origins: dict[str, tuple[aiohttp.ClientRequest, str]] = {}  # by scheme, host and port, as URLs begin

    async def request(self, method: str, url: str, headers: Mapping[str, str]) -> OriginResponse:
        """Return an answer to close. Raises ``NothingSent``, ``ConnectionLost``, errors of aiohttp and sockets."""
        if self._observe is None:
            return await self._send(method, url, headers)
        with self._observe(method, yarl.URL(url, encoded=True)) as answered:
            answer = await self._send(method, url, headers)
            answered(answer.status, answer.headers.get(REQUEST_ID))
            return answer

    async def _send(self, method: str, url: str, headers: Mapping[str, str]) -> OriginResponse:
        path = url.find("/", 8)  # after "https://"
        is_safe = path > 0 and url.isascii() and url.isprintable() and " " not in url
        if not is_safe or any(map(_UNSAFE_IN_FIELD.search, headers.values())):
            raise ValueError("a URL without path or with control characters, or a field with line breaks")
        origin, fixed = self._origins.get(url[:path]) or self._add_origin(url[:path])
        text = f"{method} {url[path:]} HTTP/1.1\r\n{fixed}"
        for name, value in headers.items():
            text += f"{name}: {value}\r\n"
        try:
            connection = await self._connector.connect(origin, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {origin.host}") from error
        try:
            return await self._exchange(connection, f"{text}\r\n", is_head=method == hdrs.METH_HEAD)
        except BaseException as error:
            connection.close()
            if isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
                raise ConnectionLost(type(error).__name__) from without_traceback(error)
            if isinstance(error, HttpProcessingError):
                raise aiohttp.ClientPayloadError(f"no HTTP: {error.message}") from error
            raise

    async def _exchange(self, connection: Connection, text: str, *, is_head: bool) -> OriginResponse:
        """Write the request, and return the answer once its header has come.

        Nothing is written to a kept-alive connection which COS has closed, or on which it sent more: on a connection
        with an answer that nobody asked for, each later answer would be that of the request before it.
        """
        transport, protocol = connection.transport, connection.protocol
        if transport is None or protocol is None or transport.is_closing():
            raise NothingSent(_PEER_CLOSED)
        # A new connection has None there. Over TLS it may hold bytes: the server's session tickets.
        _require_quiet(transport, is_used=protocol.read_timeout is not None)
        if protocol.should_close:
            raise NothingSent(_UNASKED)
        _set_receive(transport, _FAST_RECEIVE)
        # Lengths must be those of the bytes that are passed on, so nothing is requested or decoded in compressed form.
        # aiohttp's read timeout is off (0): it would set a timer for each wait.
        protocol.set_response_params(
            skip_payload=is_head, read_until_eof=True, auto_decompress=False, read_timeout=0, read_bufsize=_READ_AHEAD
        )
        transport.write(text.encode("utf-8", "surrogateescape"))
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code < 200 or message.code == 101:
                return OriginResponse(message.code, message.headers, content, connection, self._shared_timeout)

    def _add_origin(self, base: str) -> tuple[aiohttp.ClientRequest, str]:
        """Return the request by which the connector tells connections apart, and the fields of all requests."""
        request = aiohttp.ClientRequest(hdrs.METH_GET, yarl.URL(base), loop=asyncio.get_running_loop())
        if len(self._origins) >= _MOST_ORIGINS:
            self._origins.clear()
        self._origins[base] = origin = request, f"Host: {request.headers[hdrs.HOST]}\r\n{_FIXED_FIELDS}"
        return origin


def _require_quiet(transport: asyncio.Transport, *, is_used: bool) -> None:
    """Raise ``NothingSent`` if the peer has closed the connection or sent bytes that the loop has not read yet."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        raise NothingSent(_PEER_CLOSED)
    poll = select.poll()
    poll.register(connection, _CLOSED | select.POLLIN if is_used else _CLOSED)
    for _, found in poll.poll(0):
        raise NothingSent(_PEER_CLOSED if found & _CLOSED else _UNASKED)
