"""Clients that take next to nothing of what waits for them are cut; who is merely slow is served."""

import asyncio
import fcntl
import logging
import socket
import struct
import termios
from typing import Final, NamedTuple

from gateway.server.connection_reset import reset

logger = logging.getLogger(__name__)

_LEAST: Final = 1024  # bytes a second
_NUMBER: Final = struct.Struct("i")
_BYTES_ACKED: Final = struct.Struct("120xQ")  # where Linux has it in tcp_info: linux/tcp.h
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)


class Progress(NamedTuple):
    """How many bytes the client has acknowledged in all, and how many wait for it."""

    taken: int = 0
    waiting: int = 0

    def falls_behind(self, before: "Progress", least: float) -> bool:
        """Whether since ``before`` neither ``least`` bytes were taken nor all that waited then."""
        return self.taken - before.taken < min(before.waiting, least)


class SlowClients:
    """Resets connections whose client took less than 1 KiB a second for ``seconds``, though more waited for it.

    A deadline for each write would ask for the whole piece in time, and TCP_USER_TIMEOUT (tcp(7)) for a window that
    opens in time: a client that reads slowly opens it by half of its buffer at once. One timer looks at all
    connections, every ``seconds``: what waits at one look must have moved by the next. Where the system does not tell
    (it is Linux's), nobody is cut.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: dict[asyncio.Transport, Progress] = {}
        self._is_looking = False

    def watch(self, transport: asyncio.Transport) -> None:
        """A client has connected."""
        self._watched[transport] = Progress()
        if not self._is_looking:
            self._look_later()

    def forget(self, transport: asyncio.Transport) -> None:
        """The connection is closed."""
        self._watched.pop(transport, None)

    def _look_later(self) -> None:
        self._is_looking = bool(self._watched)
        if self._is_looking:
            asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        for transport, before in self._watched.items():
            now = self._watched[transport] = _progress_of(transport)
            if now.falls_behind(before, _LEAST * self._seconds):
                logger.debug("client cut: it took %d bytes since the last look", now.taken - before.taken)
                reset(transport)
        self._look_later()


def _progress_of(transport: asyncio.Transport) -> Progress:
    if _TCP_INFO is None:
        return Progress()
    connection = transport.get_extra_info("socket")
    try:
        # What the kernel holds for the client (SIOCOUTQ, tcp(7)) may be megabytes.
        held = _NUMBER.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_NUMBER.size)))[0]
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
        return Progress(_BYTES_ACKED.unpack(info)[0], transport.get_write_buffer_size() + held)
    except (OSError, ValueError, struct.error):  # closed already, or a system that tells less
        return Progress()
