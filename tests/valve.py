"""TCP proxy in front of COS that can hold responses back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self


class Valve:
    """Proxy for connections, open at first. The event ``holds`` is set when a response waits in it."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._is_open = asyncio.Event()
        self._is_open.set()
        self.holds = asyncio.Event()
        self.port = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, port: int) -> AsyncIterator[Self]:
        """Run a valve in front of a port of this machine."""
        valve = cls(port)
        server = await asyncio.start_server(valve._relay, "127.0.0.1", 0)
        valve.port = server.sockets[0].getsockname()[1]
        try:
            yield valve
        finally:
            valve.open()
            server.close()

    def close(self) -> None:
        """Hold every response back from now on."""
        self._is_open.clear()

    def lead_to(self, port: int) -> None:
        """Forward later connections to another port. Those that are open stay where they are."""
        self._to = port

    def open(self) -> None:
        """Forward the responses held back, and all later ones."""
        self._is_open.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cos_reader, cos_writer = await asyncio.open_connection("127.0.0.1", self._to)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_response: bool) -> None:
            with contextlib.suppress(ConnectionError):
                while piece := await source.read(65_536):
                    if is_response and not self._is_open.is_set():
                        self.holds.set()
                        await self._is_open.wait()
                    sink.write(piece)
            sink.close()

        await asyncio.gather(copy(reader, cos_writer, is_response=False), copy(cos_reader, writer, is_response=True))
