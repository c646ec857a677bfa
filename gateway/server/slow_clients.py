"""Disconnecting clients: by an RST, and those that stall. Clients that read slowly are served."""

import asyncio
import contextlib
import fcntl
import logging
import socket
import struct
import termios
from typing import Final, NamedTuple

logger = logging.getLogger(__name__)

_MIN_RATE: Final = 1024  # bytes per second
_CHECKED_AT_ONCE: Final = 100  # connections, two system calls each; then the event loop runs
_INT: Final = struct.Struct("i")
_BYTES_ACKED: Final = struct.Struct("120xQ")  # tcpi_bytes_acked of struct tcp_info (linux/tcp.h)
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)


class Progress(NamedTuple):
    """A client's progress: bytes acknowledged since it connected, and bytes that wait to be acknowledged."""

    acknowledged: int = 0
    waiting: int = 0

    def is_stalled(self, before: "Progress", minimum: float) -> bool:
        """Return whether fewer than ``minimum`` bytes, and not all waiting, were acknowledged since ``before``."""
        return self.acknowledged - before.acknowledged < min(before.waiting, minimum)


class SlowClients:
    """Resets connections whose client read less than 1 KiB per second for ``seconds``, though more was waiting.

    A timeout per write would require the whole chunk in time. TCP_USER_TIMEOUT (tcp(7)) would require a window update
    in time, and a slow reader sends one only after it has read half of its buffer. So one timer compares the progress
    of all connections every ``seconds``. Systems other than Linux do not report progress; there, no client is reset.

    watched: the open connections, with their progress at the last comparison.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.watched: dict[asyncio.Transport, Progress] = {}
        self._is_scheduled = False

    def watch(self, transport: asyncio.Transport) -> None:
        """Start comparing the progress of a connection."""
        self.watched[transport] = Progress()
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = bool(self.watched)
        if self._is_scheduled:
            asyncio.get_running_loop().call_later(self._seconds, lambda: self._check(list(self.watched)))

    def _check(self, transports: list[asyncio.Transport]) -> None:
        """Check some of the connections, and the rest after the event loop has run."""
        for transport in transports[:_CHECKED_AT_ONCE]:
            before = self.watched.get(transport)
            if before is None:  # closed meanwhile
                continue
            now = self.watched[transport] = _progress_of(transport)
            if now.is_stalled(before, _MIN_RATE * self._seconds):
                logger.debug(
                    "slow client disconnected: acknowledged=%d bytes in %g s",
                    now.acknowledged - before.acknowledged,
                    self._seconds,
                )
                reset(transport)
        if rest := transports[_CHECKED_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._check, rest)
        else:
            self._schedule()


def _progress_of(transport: asyncio.Transport) -> Progress:
    if _TCP_INFO is None:
        return Progress()
    connection = transport.get_extra_info("socket")
    try:
        # The kernel's send buffer (SIOCOUTQ, tcp(7)) may hold megabytes.
        unsent = _INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0]
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
        return Progress(_BYTES_ACKED.unpack(info)[0], transport.get_write_buffer_size() + unsent)
    except (OSError, ValueError, struct.error):  # already closed, or a system with a shorter tcp_info
        return Progress()


def reset(transport: asyncio.Transport | None) -> None:
    """Close with an RST (SO_LINGER of 0 seconds, socket(7)). None is a connection that is already closed.

    A client cannot mistake an RST for the end of a response. The kernel frees its send buffer at once: after an orderly
    close it would keep the buffer until the client has read it.
    """
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # already closed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
