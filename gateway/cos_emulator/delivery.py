"""Sends an answer: whole, or in one of the ways of ``faults`` that break it on the wire."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import StreamWriter

from gateway.cos_emulator.answer import Answer
from gateway.cos_emulator.faults import Chunked, Cut, Delivery, Drip, Hang, NoLength, Reset, WrongLength
from gateway.cos_emulator.request_log import LoggedRequest


async def tell_length_of_not_modified(_request: web.Request, response: web.StreamResponse) -> None:
    """COS's 304 says ``Content-Length: 0`` (doc 7753); aiohttp takes it away, and this signal comes after that."""
    if response.status == 304:
        response.headers["Content-Length"] = "0"


class Sender:
    """One answer on its way to one client. ``stopping`` is set when the emulator shuts down."""

    def __init__(self, request: web.Request, answer: Answer, seen: LoggedRequest, stopping: asyncio.Event) -> None:
        self._request = request
        self._answer = answer
        self._seen = seen
        self._stopping = stopping

    async def send(self, delivery: Delivery | None) -> web.StreamResponse:
        """Send it; raises ConnectionError when the client has left, OSError when the object cannot be read."""
        match delivery:
            case Chunked():
                return await self._send_all(self._pieces(), chunked=True)
            case Reset():
                return self._close(web.StreamResponse(), reset=True)
            case Hang(at=at):
                response = web.StreamResponse()
                if at is not None:
                    response = await self._send_head()
                    await self._write(response, self._pieces(at))
                await self._stopping.wait()
                return self._close(response)
            case Cut(at=at, reset=reset):
                response = await self._send_head()
                await self._write(response, self._pieces(at))
                return self._close(response, reset=reset)
            case Drip(size=size, every=every):
                return await self._send_all(self._drops(size, every))
            case WrongLength(by=by):
                length = max(0, self._answer.length + by)
                return await self._send_raw({"Content-Length": str(length)}, self._pieces())
            case NoLength(cut_at=cut_at):
                return await self._send_raw({}, self._pieces(cut_at))
        return await self._send_all(self._pieces())

    async def _send_all(self, pieces: AsyncIterator[bytes], *, chunked: bool = False) -> web.StreamResponse:
        response = await self._send_head(chunked=chunked)
        await self._write(response, pieces)
        await response.write_eof()
        return response

    async def _send_head(self, *, chunked: bool = False) -> web.StreamResponse:
        response = web.StreamResponse(status=self._answer.status, headers=self._answer.headers)
        if not chunked:
            response.content_length = self._answer.length
        self._seen.status = self._answer.status
        await response.prepare(self._request)
        return response

    async def _send_raw(self, framing: dict[str, str], pieces: AsyncIterator[bytes]) -> web.StreamResponse:
        """An answer that the server would rightly refuse to send, and the end of its connection."""
        writer = StreamWriter(self._request.protocol, asyncio.get_running_loop())
        headers = self._answer.headers.copy()
        headers.update({**framing, "Connection": "close"})
        self._seen.status = self._answer.status
        status = HTTPStatus(self._answer.status)
        await writer.write_headers(f"HTTP/1.1 {status.value} {status.phrase}", headers)
        writer.send_headers()
        await self._write(writer, pieces)
        await writer.drain()
        return self._close(web.StreamResponse())

    async def _write(self, writer: web.StreamResponse | StreamWriter, pieces: AsyncIterator[bytes]) -> None:
        # write() waits while more than 64 KiB are on their way: a slow client holds one piece here, not the object.
        async for piece in pieces:
            await writer.write(piece)
            self._seen.bytes_sent += len(piece)

    def _pieces(self, at_most: int | None = None) -> AsyncIterator[bytes]:
        answer = self._answer
        if self._request.method == "HEAD":
            at_most = 0
        stop = answer.stop if at_most is None else min(answer.stop, answer.start + at_most)
        return answer.content.pieces(answer.start, stop)

    async def _drops(self, size: int, every: float) -> AsyncIterator[bytes]:
        is_first = True
        async for piece in self._pieces():
            for offset in range(0, len(piece), size):
                if not is_first:
                    await self._pause(every)
                is_first = False
                yield piece[offset : offset + size]

    async def _pause(self, seconds: float) -> None:
        """Raises ConnectionAbortedError when the emulator stops meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
            raise ConnectionAbortedError("the emulator is stopping")

    def _close(self, response: web.StreamResponse, *, reset: bool = False) -> web.StreamResponse:
        """Close the connection under the response; the server finds it closed and sends nothing more."""
        transport = self._request.transport
        if transport is None:
            return response
        if reset:
            # SO_LINGER with time 0 makes close() send RST in place of FIN (socket(7)).
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        return response
