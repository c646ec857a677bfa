"""TCP proxy in front of a server that can hold responses back, send them byte by byte, or lose all packets."""

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

_DRIP: Final = 0.1  # seconds between two bytes
# Linux's SO_ATTACH_FILTER and SO_DETACH_FILTER (socket(7)), with the one instruction that accepts no byte of a packet.
_ATTACH_FILTER: Final = 26
_DETACH_FILTER: Final = 27
_DROP: Final = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
_DROP_ALL: Final = struct.pack("HxxxxxxP", 1, ctypes.addressof(_DROP))


@dataclass
class _Relay:
    """A connection through the valve. While it is not open, its responses are held back."""

    to_client: asyncio.StreamWriter
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    to_server: asyncio.StreamWriter | None = None


class Valve:
    """Proxy for connections, open at first. The event ``holds`` is set when a response waits in it."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._is_open = True
        self._loses_packets = False
        self._is_dripping = False
        self._relays: dict[asyncio.Task[Any], _Relay] = {}
        self._listener: socket.socket
        self.holds = asyncio.Event()
        self.port = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, port: int) -> AsyncIterator[Self]:
        """Run a valve in front of a port of this machine."""
        valve = cls(port)
        valve._listener = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(valve._relay, sock=valve._listener)
        valve.port = valve._listener.getsockname()[1]
        try:
            yield valve
        finally:
            valve.open()
            server.close()
            for relay in valve._relays.values():
                relay.to_client.transport.abort()
                if relay.to_server is not None:
                    relay.to_server.transport.abort()
            await asyncio.gather(*valve._relays)

    def close(self) -> None:
        """Hold every response back from now on."""
        self._is_open = False
        self._hold()

    def _hold(self) -> None:
        for relay in self._relays.values():
            relay.is_open.clear()

    def drip(self) -> None:
        """Send every response a byte at a time from now on."""
        self._is_dripping = True

    def lose_packets(self, *, of_new_connections: bool = True) -> bool:
        """Lose each packet of clients, as if the server's machine had no power. ``open`` ends that.

        The kernel drops them: it acknowledges nothing and refuses nothing. Where it does not let this user filter, the
        responses are held back instead, and False is returned.
        """
        self._hold()
        ends = self._ends()
        if of_new_connections:
            self._is_open, self._loses_packets = False, True
            ends.append(TransportSocket(self._listener))
        are_lost = [_lose_packets_of(end) for end in ends]
        return all(are_lost)

    def time_out(self) -> None:
        """Lose packets, and let this process's kernel end its connections by ETIMEDOUT after two seconds.

        Where the kernel drops nothing, connections are reset.
        """
        if self.lose_packets():
            for client in self._clients():
                _end_soon(client)
            return
        for relay in self._relays.values():
            end = relay.to_client.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            relay.to_client.transport.abort()

    def has_clients(self) -> bool:
        """Return whether a connection of this process leads here."""
        return any(True for _ in self._clients())

    def _clients(self) -> Iterator[socket.socket]:
        """Iterate over the ends in this process of connections to the valve."""
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile, or not connected
                if entry.readlink().name.startswith("socket:"):
                    with socket.socket(fileno=os.dup(int(entry.name))) as end:
                        if end.getpeername()[1:2] == (self.port,):
                            yield end

    def lead_to(self, port: int) -> None:
        """Forward later connections to another port. Those that are open stay where they are."""
        self._to = port

    def open(self) -> None:
        """Forward the responses held back, and all later packets."""
        self._is_dripping = False
        for end in [*self._ends(), TransportSocket(self._listener)]:
            with contextlib.suppress(OSError):  # it has no filter, or is closed
                end.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        self._is_open, self._loses_packets = True, False
        for relay in self._relays.values():
            relay.is_open.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays[task] = relay = _Relay(writer)
        if self._is_open:
            relay.is_open.set()
        if self._loses_packets:  # it was connected before, and not accepted
            _lose_packets_of(writer.get_extra_info("socket"))
        try:
            inner_reader, relay.to_server = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(self._copy(reader, relay.to_server), self._answer(inner_reader, relay))
        finally:
            del self._relays[task]
            writer.transport.abort()
            if relay.to_server is not None:
                relay.to_server.transport.abort()

    def _ends(self) -> list[TransportSocket]:
        """Return the sockets that clients are connected to, without those that are closed."""
        ends: list[TransportSocket] = [relay.to_client.get_extra_info("socket") for relay in self._relays.values()]
        return [end for end in ends if end.fileno() >= 0]

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65_536):
                sink.write(piece)
        sink.close()

    async def _answer(self, source: asyncio.StreamReader, relay: _Relay) -> None:
        sink = relay.to_client
        with contextlib.suppress(OSError):
            while piece := await source.read(65_536):
                if not relay.is_open.is_set():
                    self.holds.set()
                    await relay.is_open.wait()
                while self._is_dripping and piece:
                    self.holds.set()
                    sink.write(piece[:1])
                    piece = piece[1:]
                    await asyncio.sleep(_DRIP)
                sink.write(piece)
        sink.close()


def _lose_packets_of(end: TransportSocket) -> bool:
    """Let the kernel drop what arrives there. Return False if this user may not."""
    try:
        end.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _DROP_ALL)
    except PermissionError:
        return False
    return True


def _end_soon(end: socket.socket) -> None:
    """Make the kernel ask the other end each second, and end the connection by ETIMEDOUT if it is silent."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 1),
        (socket.TCP_KEEPINTVL, 1),
        (socket.TCP_KEEPCNT, 1),
        (socket.TCP_USER_TIMEOUT, 500),  # milliseconds
    ):
        end.setsockopt(socket.IPPROTO_TCP, option, value)
