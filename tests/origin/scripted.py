"""An origin that sends given bytes: responses that no correct server would send."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[int]:
    """Yield the port; each connection gets the next answer and ends, the last answer is repeated."""
    waiting = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def head(status: str, *fields: str) -> bytes:
    """Return the header of a response with an image."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: image/png", 'ETag: "v1"', "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode()
