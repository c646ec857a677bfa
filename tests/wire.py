"""A client that shows what really comes over the connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

TIME_LIMIT = 5.0


@dataclass(frozen=True)
class Head:
    """Status line and headers, by lower-case name."""

    status: int
    headers: dict[str, str]


@dataclass
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, raw: bytes) -> None:
        """These bytes, exactly."""
        self.writer.write(raw)
        await self.writer.drain()

    async def get(self, path: str) -> None:
        """A request that keeps the connection alive."""
        await self.send(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())

    async def head(self) -> Head:
        """The next answer, up to its body."""
        async with asyncio.timeout(TIME_LIMIT):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = raw.decode().removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return Head(int(line.split()[1]), headers)

    async def body(self, head: Head) -> bytes:
        """As many bytes as the head announces."""
        async with asyncio.timeout(TIME_LIMIT):
            return await self.reader.readexactly(int(head.headers["content-length"]))

    async def rest(self) -> bytes:
        """All that still comes, to the end of the connection, orderly or not."""
        received = bytearray()
        async with asyncio.timeout(TIME_LIMIT):
            with suppress(ConnectionError):
                while piece := await self.reader.read(65536):
                    received += piece
        return bytes(received)


@asynccontextmanager
async def connected(url: str, *, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    """A connection to the server at ``url``; with a small ``receive_buffer`` the kernel takes little by itself."""
    address = urlsplit(url)
    connection = socket.socket()
    connection.setblocking(False)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=receive_buffer or 65536)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
