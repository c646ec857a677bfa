"""Bytes to the client, piece by piece, honest about every end."""

from typing import Protocol

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from gateway.delivery.image_request import Exchange
from gateway.errors import OriginUnavailable
from gateway.metrics.collectors import Metrics
from gateway.origin.errors import BodyLost

# A body up to this size is read whole before the first byte leaves, so a lost origin is still a clean 502.
SMALL_BODY = 128 * 1024


class Body(Protocol):
    """Bytes to send: ``read`` gives the next ones, nothing at a clean end, and raises ``BodyLost`` for any other."""

    async def read(self) -> bytes | memoryview:
        """The next bytes."""
        ...


class RelayAborted(Exception):
    """The origin failed after the status was sent: the client's connection must be cut, nothing else can be said.

    Not a ``GatewayError``: rendering one here would write a second answer into the image's bytes.
    """


class ClientLeft(Exception):
    """The client closed the connection, or took too little for too long. No failure of ours or of the origin."""


class Relay:
    """Copies bodies to clients at their own pace; who takes next to nothing is cut by the connection's own watch."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def send(
        self, exchange: Exchange, body: Body, headers: "CIMultiDict[str]", *, status: int, length: int | None
    ) -> web.StreamResponse:
        """Send ``body`` as it comes; ``length`` is its announced one, None if there is none.

        Raises ``OriginUnavailable`` before the first byte, ``RelayAborted`` after it, ``ClientLeft`` when the client
        is gone.
        """
        response = web.StreamResponse(status=status, headers=headers)
        if length is not None:
            response.content_length = length
        elif exchange.request.version < HttpVersion11:
            response.force_close()  # nothing else tells the end (RFC 9112 section 6.3)
        # Until there is a first piece, a lost origin still is an error that can be told.
        try:
            piece = await body.read()
        except BodyLost as error:
            raise OriginUnavailable(str(error)) from error
        exchange.context.stamp(response)
        sent = 0
        try:
            await response.prepare(exchange.request)
            while piece:
                await response.write(piece)
                sent += len(piece)
                self._metrics.response_bytes.add(amount=len(piece))
                try:
                    piece = await body.read()
                except BodyLost as error:
                    raise RelayAborted(str(error)) from error
            if length not in (None, sent):  # the next answer on the connection would be read as the rest
                raise RelayAborted(f"{sent} bytes came of the {length} that were announced")
            await response.write_eof()
        # A write to a client that left fails with a ConnectionError of aiohttp's own, which is also a ClientError: it
        # cannot be mistaken for a failure of the origin, since ``read`` lets nothing but ``BodyLost`` through.
        except ConnectionError as error:
            raise ClientLeft("the connection is closed") from error
        return response


async def read_whole(body: Body) -> bytes:
    """Return the whole body; raises ``OriginUnavailable``: nothing was sent yet."""
    try:
        pieces = [await body.read()]
        while pieces[-1]:
            pieces.append(await body.read())
    except BodyLost as error:
        raise OriginUnavailable(str(error)) from error
    return b"".join(pieces)
