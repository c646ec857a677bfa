"""A server that says what a test tells it to, byte for byte: what a real gateway or a real COS says too rarely."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

Script = Callable[[str], str | None]
"""From the head of a request to the whole answer; None closes the connection without one."""


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """Runs it; gives its port on 127.0.0.1."""

    kept: set[asyncio.StreamWriter] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.add(writer)
        try:
            while (answer := script((await reader.readuntil(b"\r\n\r\n")).decode())) is not None:
                writer.write(answer.encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # nginx closed it
        finally:
            kept.discard(writer)
            writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for writer in kept:  # which the end of the server waits for, and nginx keeps open
            writer.close()


def answer(status: int = 200, body: str = "", **headers: str) -> str:
    """An answer; underscores in names of headers are dashes."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\nContent-Length: {len(body.encode())}\r\n{fields}\r\n{body}"


def handing_over(url: str, etag: str, length: int) -> str:
    """What the gateway says to nginx of an object."""
    return answer(
        X_Accel_Redirect=f"/_cos/{sha256(url.encode()).hexdigest()}",
        X_Origin_URL=url,
        X_Origin_ETag=etag,
        X_Origin_Length=str(length),
        X_Image_Cache_Control="public, max-age=3600",
        Content_Type="image/png",
    )
