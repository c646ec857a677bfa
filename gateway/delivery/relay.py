"""Bytes from the origin to the client, piece by piece, honest about every end."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing

from aiohttp import web
from multidict import CIMultiDict

from gateway.errors import OriginUnavailable
from gateway.metrics import Metrics
from gateway.origin.errors import BodyLost
from gateway.origin.response import OriginResponse

# A body up to this size is read whole before the first byte leaves, so a lost origin is still a clean 502.
SMALL_BODY = 64 * 1024


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
        self, request: web.Request, origin: OriginResponse, headers: "CIMultiDict[str]", *, status: int
    ) -> web.StreamResponse:
        """Send ``origin``'s body, if it has one, with ``status`` and ``headers``.

        Raises ``OriginUnavailable`` before the first byte, ``RelayAborted`` after it, ``ClientLeft`` when the client
        is gone.
        """
        length = origin.headers.length
        if not origin.has_body:
            return web.StreamResponse(status=status, headers=headers)
        if length is not None and length <= SMALL_BODY:
            return await self._send_whole(origin, headers, status)
        response = web.StreamResponse(status=status, headers=headers)
        async with aclosing(origin.pieces()) as pieces:
            await self._to_client(response.prepare(request))
            try:
                async for piece in pieces:
                    await self._to_client(response.write(piece))
                    self._metrics.response_bytes.inc(len(piece))
            except BodyLost as error:
                raise RelayAborted(str(error)) from error
            await self._to_client(response.write_eof())
        return response

    async def _send_whole(self, origin: OriginResponse, headers: "CIMultiDict[str]", status: int) -> web.StreamResponse:
        try:
            body = b"".join([piece async for piece in origin.pieces()])
        except BodyLost as error:
            raise OriginUnavailable(str(error)) from error
        self._metrics.response_bytes.inc(len(body))
        return web.Response(status=status, headers=headers, body=body)

    async def _to_client(self, writing: Awaitable[object]) -> None:
        # A write to a client that left fails with a ConnectionError of aiohttp's own, which is also a ClientError:
        # it must not be taken for a failure of the origin.
        try:
            async with asyncio.timeout(self._write_timeout):
                await writing
        except TimeoutError as error:
            raise ClientLeft(f"nothing was taken for {self._write_timeout:g} s") from error
        except ConnectionError as error:
            raise ClientLeft("the connection is closed") from error
