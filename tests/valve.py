"""A way to COS on which answers can be held back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self


class Valve:
    """Relays connections; open at first. ``holds`` is set when an answer waits before it."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._flows = asyncio.Event()
        self._flows.set()
        self.holds = asyncio.Event()
        self.port = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, port: int) -> AsyncIterator[Self]:
        """One on the way to a port of this machine."""
        valve = cls(port)
        server = await asyncio.start_server(valve._relay, "127.0.0.1", 0)
        valve.port = server.sockets[0].getsockname()[1]
        try:
            yield valve
        finally:
            valve.open()
            server.close()

    def close(self) -> None:
        """No answer arrives from now on."""
        self._flows.clear()

    def open(self) -> None:
        """What was held back arrives."""
        self._flows.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
            with contextlib.suppress(ConnectionError):
                while piece := await source.read(65_536):
                    if is_answer and not self._flows.is_set():
                        self.holds.set()
                        await self._flows.wait()
                    sink.write(piece)
            sink.close()

        await asyncio.gather(copy(reader, back, is_answer=False), copy(there, writer, is_answer=True))
