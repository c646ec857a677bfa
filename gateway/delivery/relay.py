"""Bytes to the client, piece by piece, honest about every end."""

import asyncio
from typing import Protocol

from aiohttp import web
from multidict import CIMultiDict

from gateway.delivery.exchange import Exchange
from gateway.delivery.ready import ReadyResponse
from gateway.errors import OriginUnavailable
from gateway.metrics import Metrics
from gateway.origin.errors import BodyLost

# A body up to this size is read whole before the first byte leaves, so a lost origin is still a clean 502.
SMALL_BODY = 128 * 1024


class Body(Protocol):
    """Bytes to send: ``read`` gives the next ones, nothing at a clean end, and raises ``BodyLost`` for any other."""

    async def read(self) -> bytes:
        """The next bytes."""
        ...


class RelayAborted(Exception):
    """The origin failed after the status was sent: the client's connection must be cut, nothing else can be said.

    Not a ``GatewayError``: rendering one here would write a second answer into the image's bytes.
    """


class ClientLeft(Exception):
    """The client closed the connection, or took nothing for too long. No failure of ours or of the origin."""


class Relay:
    """Copies bodies to clients; each write may wait ``write_timeout`` seconds for the client to take something."""

    def __init__(self, write_timeout: float, metrics: Metrics) -> None:
        self._write_timeout = write_timeout
        self._metrics = metrics

    async def send(
        self, exchange: Exchange, body: Body, headers: "CIMultiDict[str]", *, status: int, length: int | None
    ) -> web.StreamResponse:
        """Send ``body``; ``length`` is its announced one, None if there is none.

        Raises ``OriginUnavailable`` before the first byte, ``RelayAborted`` after it, ``ClientLeft`` when the client
        is gone.
        """
        if length is not None and length <= SMALL_BODY:
            return self.send_bytes(b"".join(await all_of(body)), headers, status=status)
        response = web.StreamResponse(status=status, headers=headers)
        if length is not None:
            response.content_length = length
        # Until there is a first piece, a lost origin still is an error that can be told.
        try:
            piece = await body.read()
        except BodyLost as error:
            raise OriginUnavailable(str(error)) from error
        exchange.stamp(response.headers)
        patience = _Patience(exchange.request, self._write_timeout)
        try:
            await response.prepare(exchange.request)
            while piece:
                patience.starts()
                await response.write(piece)
                patience.ends()
                self._metrics.response_bytes.add(number=len(piece))
                try:
                    piece = await body.read()
                except BodyLost as error:
                    raise RelayAborted(str(error)) from error
            patience.starts()
            await response.write_eof()
        # A write to a client that left fails with a ConnectionError of aiohttp's own, which is also a ClientError: it
        # cannot be mistaken for a failure of the origin, since ``read`` lets nothing but ``BodyLost`` through.
        except ConnectionError as error:
            raise ClientLeft(patience.verdict) from error
        finally:
            patience.close()
        return response

    def send_bytes(self, body: bytes, headers: "CIMultiDict[str]", *, status: int) -> web.Response:
        """An answer whose bytes are at hand."""
        self._metrics.response_bytes.add(number=len(body))
        return web.Response(status=status, headers=headers, body=body)

    def send_ready(self, fixed: bytes, headers: "CIMultiDict[str]", *pieces: bytes) -> ReadyResponse:
        """A 200 to a GET whose bytes are at hand; ``fixed`` are header lines as ``fields`` makes them."""
        response = ReadyResponse(fixed, headers, *pieces)
        self._metrics.response_bytes.add(number=response.length)
        return response


async def all_of(body: Body) -> list[bytes]:
    """The whole body in pieces; raises ``OriginUnavailable``: nothing was sent yet."""
    try:
        pieces = [await body.read()]
        while pieces[-1]:
            pieces.append(await body.read())
    except BodyLost as error:
        raise OriginUnavailable(str(error)) from error
    return pieces[:-1]


class _Patience:
    """Cuts a client that takes nothing for ``seconds``: one timer for a whole response, looked at when it fires.

    (A client that never reads would block ``write`` for ever; ``asyncio.timeout`` around every write costs a tenth of
    the time that relaying a megabyte takes.)
    """

    def __init__(self, request: web.BaseRequest, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._has_run_out = False
        self._timer = self._loop.call_later(seconds, self._look)

    @property
    def verdict(self) -> str:
        """Why the client counts as gone."""
        return f"nothing was taken for {self._seconds:g} s" if self._has_run_out else "the connection is closed"

    def starts(self) -> None:
        """A write begins to wait."""
        self._since = self._loop.time()

    def ends(self) -> None:
        """The write is through."""
        self._since = None

    def close(self) -> None:
        """The response is over."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        due = (self._since if self._since is not None else now) + self._seconds
        if due > now:
            self._timer = self._loop.call_at(due, self._look)
            return
        self._has_run_out = True
        if self._request.transport is not None:
            self._request.transport.abort()
