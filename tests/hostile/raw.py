"""Bytes on a socket, as no client library would send them."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_TIME_LIMIT = 10.0  # a connection that is neither answered nor closed by then hangs
_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3}) ")


@asynccontextmanager
async def connection(public: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the port at this URL."""
    host, _, port = public.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(public: str, data: bytes) -> bytes:
    """All that comes back until the gateway closes the connection, which it must in time."""
    async with connection(public) as (reader, writer):
        writer.write(data)
        return await rest_of(reader)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """What is read until the end, however the connection ends."""
    received = bytearray()
    async with asyncio.timeout(_TIME_LIMIT):
        with suppress(ConnectionError):
            while piece := await reader.read(65_536):
                received += piece
    return bytes(received)


def statuses(received: bytes) -> list[int]:
    """The status of each answer; bodies in these tests hold no status line."""
    return [int(status) for status in _STATUS_LINE.findall(received)]
