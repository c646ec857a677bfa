"""Stream a body to the client. A truncated body never looks complete."""

import fcntl
import socket
from collections.abc import Callable
from typing import Final, cast

from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter

from gateway.delivery.request_context import RequestContext
from gateway.errors import OriginUnavailable
from gateway.metrics.loop_counters import LoopCounter
from gateway.objects.content import Content
from gateway.origin.cos_errors import BodyLost, RowChanged

# A body up to this size is read whole before the first byte leaves, so a lost origin is still a clean 502.
SMALL_BODY = 128 * 1024
# Labels of ``sent_bytes``: the location of the bytes when the request arrived.
FROM_MEMORY, FROM_COS = ("memory",), ("cos",)
_SIOCOUTQNSD: Final = 0x894B
_NONE: Final = bytes(4)


class RelayAborted(Exception):
    """COS failed after the status was sent: the client's connection has to be reset.

    Not a ``GatewayError``: rendering one here would write a second response into the image's bytes.
    """


class ClientLeft(Exception):
    """The client closed the connection or stalled. Neither the gateway nor COS failed."""


async def relay(
    request: web.BaseRequest,
    response: web.StreamResponse,
    content: Content,
    context: RequestContext,
    sent_bytes: LoopCounter,
    length: int | None,
    begins: Callable[[web.StreamResponse], None] = lambda _: None,
) -> web.StreamResponse:
    """Send the body of ``content`` as it arrives from COS, at the client's pace: ``slow_clients`` disconnects others.

    response: has the status and the header fields, and is returned. length: the announced length in bytes, or None.
    begins: gets the response before the first byte is sent, may change its header, and may raise ``RowChanged``.

    Raises ``OriginUnavailable`` or ``RowChanged`` before the first byte, ``RelayAborted`` after it, ``ClientLeft``
    when the client has disconnected.
    """
    body = content.body
    assert body is not None, "content in memory is sent at once"  # noqa: S101
    if length is not None:
        response.content_length = length
    elif request.version < HttpVersion11:
        response.force_close()  # the end of the connection is the end of the body (RFC 9112 section 6.3)
    # Before the first piece, a lost origin can still be answered with an error.
    try:
        piece = await body.read()
    except BodyLost as error:
        raise OriginUnavailable(str(error)) from error
    begins(response)
    context.stamp(response)
    sent = 0
    try:
        await response.prepare(request)
        # ``response.write`` would hold the piece for as long as a slow client takes for it.
        writer, transport = cast("StreamWriter", request.writer), request.transport
        connection = request.get_extra_info("socket")
        while piece:
            # The unsent rest is copied. From Python 3.12 on, the whole piece is kept until it is sent.
            await writer.write(memoryview(piece), drain=False)
            size = len(piece)
            sent += size
            sent_bytes.add(FROM_COS, size)
            piece = b""
            if sent != length:
                is_blocked = transport is not None and transport.get_write_buffer_size() > 0  # the kernel is full
                body.suit(has_unsent=_has_unsent(connection), is_blocked=is_blocked)
            await writer.drain()
            try:
                piece = await body.read()
            except (BodyLost, RowChanged) as error:
                raise RelayAborted(str(error)) from error
        if length not in (None, sent):  # the client would read the next response as the rest
            raise RelayAborted(f"{sent} bytes came of the {length} that were announced")
        await response.write_eof()
    # A write to a disconnected client raises a ConnectionError of aiohttp, which is also a ClientError. It is no
    # failure of the origin: ``read`` raises none.
    except ConnectionError as error:
        raise ClientLeft("the connection is closed") from error
    return response


def _has_unsent(connection: socket.socket | None) -> bool:
    """Return whether the kernel holds unsent bytes (SIOCOUTQNSD, linux/sockios.h). False on other systems."""
    try:
        return connection is not None and fcntl.ioctl(connection.fileno(), _SIOCOUTQNSD, _NONE) != _NONE
    except (OSError, ValueError):  # already closed, or a system without it
        return False
