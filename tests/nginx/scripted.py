"""Server that sends given responses byte for byte, for cases that a real gateway or COS produces too rarely."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

Script = Callable[[str], str | None]
"""Function from the head of a request to the whole response; None closes the connection without a response."""


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """Run the server; yield its port on 127.0.0.1."""
    open_writers: set[asyncio.StreamWriter] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        try:
            while (answer := script((await reader.readuntil(b"\r\n\r\n")).decode())) is not None:
                writer.write(answer.encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # nginx closed it
        finally:
            open_writers.discard(writer)
            writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for writer in open_writers:  # nginx keeps them open, and the server waits for them before it ends
            writer.close()


def answer(status: int = 200, body: str = "", **headers: str) -> str:
    """Return a response. An underscore in the name of a header argument becomes a dash."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\nContent-Length: {len(body.encode())}\r\n{fields}\r\n{body}"


def accel_redirect(url: str, etag: str, length: int) -> str:
    """Return the response with which the gateway hands an object to nginx."""
    return answer(
        X_Accel_Redirect=f"/_cos/{sha256(url.encode()).hexdigest()}",
        X_Origin_URL=url,
        X_Origin_ETag=etag,
        X_Origin_Length=str(length),
        X_Image_Cache_Control="public, max-age=3600",
        Content_Type="image/png",
    )
