"""Delivery of an answer to the client: complete, or broken by a fault of ``faults``."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import StreamWriter

from gateway_dev.cos_emulator.answer import Answer
from gateway_dev.cos_emulator.faults import Chunked, Cut, Delivery, Drip, Hang, NoLength, Reset, WrongLength
from gateway_dev.cos_emulator.request_log import LoggedRequest


async def set_length_of_not_modified(_request: web.Request, response: web.StreamResponse) -> None:
    """Set ``Content-Length: 0`` on a 304 as COS does (doc 7753). aiohttp removes it before this signal."""
    if response.status == 304:
        response.headers["Content-Length"] = "0"


class Sender:
    """Sender of an answer to a client. ``stopping`` is set when the emulator shuts down."""

    def __init__(self, request: web.Request, answer: Answer, logged: LoggedRequest, stopping: asyncio.Event) -> None:
        self._request = request
        self._answer = answer
        self._logged = logged
        self._stopping = stopping

    async def send(self, delivery: Delivery | None) -> web.StreamResponse:
        """Send the answer. Raises ConnectionError if the client disconnected, OSError if the object is unreadable."""
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
        return await self._send_all(self._pieces(), chunked=self._answer.is_chunked)

    async def _send_all(self, pieces: AsyncIterator[bytes], *, chunked: bool = False) -> web.StreamResponse:
        response = await self._send_head(chunked=chunked)
        await self._write(response, pieces)
        await response.write_eof()
        return response

    async def _send_head(self, *, chunked: bool = False) -> web.StreamResponse:
        response = web.StreamResponse(status=self._answer.status, headers=self._answer.headers)
        if not chunked:
            response.content_length = self._answer.length
        self._logged.status = self._answer.status
        await response.prepare(self._request)
        return response

    async def _send_raw(self, framing: dict[str, str], pieces: AsyncIterator[bytes]) -> web.StreamResponse:
        """Send an answer with invalid framing, which aiohttp's own response refuses, and close the connection."""
        writer = StreamWriter(self._request.protocol, asyncio.get_running_loop())
        headers = self._answer.headers.copy()
        headers.update({**framing, "Connection": "close"})
        self._logged.status = self._answer.status
        status = HTTPStatus(self._answer.status)
        await writer.write_headers(f"HTTP/1.1 {status.value} {status.phrase}", headers)
        writer.send_headers()
        await self._write(writer, pieces)
        await writer.drain()
        return self._close(web.StreamResponse())

    async def _write(self, writer: web.StreamResponse | StreamWriter, pieces: AsyncIterator[bytes]) -> None:
        # write() waits while more than 64 KiB are buffered, so a slow client holds one piece in memory, not the object.
        async for piece in pieces:
            await writer.write(piece)
            self._logged.bytes_sent += len(piece)

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
        """Wait. Raises ConnectionAbortedError if the emulator stops first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
            raise ConnectionAbortedError("the emulator is stopping")

    def _close(self, response: web.StreamResponse, *, reset: bool = False) -> web.StreamResponse:
        """Close the connection before aiohttp finishes the response, so that it sends no more bytes."""
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
