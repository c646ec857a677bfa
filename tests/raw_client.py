"""A client that sends bytes as they are and shows every byte that comes back, as no client library does."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.limits import LIMIT

_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")


@dataclass(frozen=True)
class ResponseHead:
    """Status and headers of a response, by lower-case name."""

    status: int
    headers: dict[str, str]


@dataclass
class RawConnection:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def get(self, path: str) -> None:
        """Send a GET request that keeps the connection alive."""
        await self.send(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())

    async def read_head(self) -> ResponseHead:
        """Read the next response up to its body."""
        async with asyncio.timeout(LIMIT):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = raw.decode().removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return ResponseHead(int(line.split()[1]), headers)

    async def read_body(self, head: ResponseHead) -> bytes:
        """Read as many bytes as the Content-Length of ``head`` announces."""
        async with asyncio.timeout(LIMIT):
            return await self.reader.readexactly(int(head.headers["content-length"]))

    async def read_rest(self) -> bytes:
        """Read until the connection ends, by a FIN or by an RST."""
        received = bytearray()
        async with asyncio.timeout(LIMIT):
            with suppress(ConnectionError):
                while piece := await self.reader.read(65_536):
                    received += piece
        return bytes(received)


@asynccontextmanager
async def connect(url: str, *, receive_buffer: int | None = None) -> AsyncIterator[RawConnection]:
    """Open a connection to the server at ``url``.

    With ``receive_buffer`` (bytes) the kernel and asyncio read ahead only about as much; None leaves both defaults.
    """
    address = urlsplit(url)
    connection = socket.socket()
    connection.setblocking(False)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=receive_buffer or 65_536)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(url: str, data: bytes) -> bytes:
    """Send ``data`` and return everything that comes back until the server closes the connection."""
    async with connect(url) as connection:
        connection.writer.write(data)
        return await connection.read_rest()


def statuses(received: bytes) -> list[int]:
    """Return the status of each response in ``received``; the bodies must hold no status line."""
    return [int(status) for status in _STATUS_LINE.findall(received)]
