"""Clients without a proxy and without retries: every connection that a gateway resets is counted as a failure."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from tests.limits import LIMIT
from tests.waiting import running

# Seconds: a gateway that stops closes connections without a request for a second, which a busy machine may take.
_LONGEST_PAUSE = 0.7


class _Clients:
    def __init__(self, host: str, port: int, path: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._address = host, port
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n".encode()

    async def connect_for_each_request(self) -> None:
        """Open a connection for each request, some hundred a second: the next process needs time to start, too."""
        while True:
            await self._count("new", self._once())
            await asyncio.sleep(0.01)

    async def keep_connections(self, pause: float) -> None:
        """Send requests ``pause`` seconds apart on one connection until the gateway closes it, then on another one."""
        while True:
            reader, writer = await asyncio.open_connection(*self._address)
            try:
                is_kept = True
                while is_kept and not reader.at_eof():  # a close that was seen is no failure: another one is opened
                    is_kept = await self._count("kept", self._exchange(reader, writer, b"\r\n"))
                    began = time.monotonic()
                    await asyncio.sleep(pause)
                    is_kept = is_kept and time.monotonic() - began < _LONGEST_PAUSE
            finally:
                writer.close()

    async def _once(self) -> bool:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            return await self._exchange(reader, writer, b"Connection: close\r\n\r\n")
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, end: bytes) -> bool:
        """Return whether the connection takes another request."""
        writer.write(self._request + end)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"^Content-Length: (\d+)\r$", head, re.MULTILINE)
        assert length is not None, head
        await reader.readexactly(int(length[1]))
        assert head.startswith("HTTP/1.1 200 "), head
        return "\r\nConnection: close\r\n" not in head

    async def _count(self, kind: str, exchange: Awaitable[bool]) -> bool:
        try:
            async with asyncio.timeout(LIMIT):  # connections wait in the kernel while no process accepts
                is_kept = await exchange
        except (OSError, EOFError, AssertionError) as error:
            self.outcomes[f"{kind}: {error!r}"] += 1
            return False
        self.outcomes[f"{kind}: 200"] += 1
        return is_kept


@asynccontextmanager
async def direct_clients(host: str, port: int, path: str) -> AsyncIterator[Counter[str]]:
    """Run clients that ask for ``path`` in each way; yield the count of each outcome (``new: 200``, ``kept: 200``)."""
    clients = _Clients(host, port, path)
    new = (clients.connect_for_each_request() for _ in range(6))
    kept = (clients.keep_connections(pause) for pause in (0.005, 0.02, 0.1, 0.4))
    async with running(*new, *kept):
        yield clients.outcomes
