"""Accept connections, at most as many as the file descriptors of the process allow."""

import asyncio
import ctypes
import errno
import logging
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Final

from gateway.server.metrics import PortMetrics

logger = logging.getLogger(__name__)

_ACCEPTS_AT_ONCE: Final = 128  # then the event loop runs
_LAST_ACCEPTS: Final = 1024  # when the listener closes; clients may connect faster than the loop accepts
_RETRY_AFTER: Final = 1.0  # seconds, once the system has no descriptor or memory left, or every connection a request
_WARNING_INTERVAL: Final = 60.0  # seconds
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_HANDSHAKE: Final = 0.02  # seconds in which a handshake that has begun ends, in a network of one site
_SO_ATTACH_FILTER: Final = 26  # socket(7), Linux; the socket module does not name it
# A filter of packets (BPF, linux/filter.h) that drops a segment with SYN: code, jump if true, jump if false, operand.
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the octet of the flags (RFC 9293 section 3.1)
    (0x45, 0, 1, 0x02),  # is SYN set?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep the whole segment
)


class Acceptor:
    """Accepts on ``listeners`` while fewer than ``max_connections`` are open. Further clients wait in the backlog.

    asyncio's own server accepts until ``accept()`` fails, then logs a traceback and retries at once. By then Redis,
    Postgres and COS have no descriptor left either.

    port: labels the log lines and metrics (``public``, ``admin``).
    is_shared: whether the listeners stay open in other processes when they are closed here.
    close_idle: called when a client waits and ``max_connections`` are open. It closes a connection without a request
    and returns True, or returns False if there is no such connection. None: the client waits until a connection closes.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        protocol_factory: Callable[[], asyncio.Protocol],
        *,
        max_connections: int,
        port: str,
        metrics: PortMetrics,
        is_shared: bool = False,
        close_idle: Callable[[], bool] | None = None,
    ) -> None:
        self._listeners = listeners
        self._is_shared = is_shared
        self._protocol_factory = protocol_factory
        self._max_connections = max_connections
        self._port = port
        self._pauses = metrics.pauses
        self._pauses.add((port,), 0)
        self._close_idle = close_idle
        self._loop = asyncio.get_running_loop()
        self._open = 0
        self._is_accepting = False
        self._is_closed = False
        self._warned_at = float("-inf")
        self._connecting: set[asyncio.Task[None]] = set()
        metrics.connections.labels(port=port).set_function(lambda: self._open)

    def start(self) -> None:
        """Start accepting, unless already accepting or closed."""
        if self._is_accepting or self._is_closed:
            return
        self._is_accepting = True
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def connection_closed(self) -> None:
        """Give the place of a closed connection to the next client."""
        self._open -= 1
        self.start()

    async def finish_handshakes(self) -> None:
        """Before ``close``: leave new clients to the other listeners of the port, and accept those that are connecting.

        Else the kernel would reset a client that connects between the last accept and the close. New clients send
        their SYN again, to another listener. Without others they are refused, and nothing is waited for.
        """
        if self._is_shared or not any(_is_reused(listener) for listener in self._listeners):
            return
        for listener in self._listeners:
            drop_handshakes(listener)
        await asyncio.sleep(_HANDSHAKE)

    def close(self) -> None:
        """Accept the connections in the backlog and close the listeners. Open connections stay open.

        The kernel resets the connections in the backlog of a listener when its last descriptor is closed.
        """
        self._is_closed = True
        if self._is_accepting:
            for listener in self._listeners:
                self._accept(listener, _LAST_ACCEPTS)
        self._stop()
        for listener in self._listeners:
            listener.close()

    def _stop(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket, at_most: int = _ACCEPTS_AT_ONCE) -> None:
        for accepted in range(at_most):
            if self._open >= self._max_connections:
                self._wait_for_a_place(is_needed=accepted == 0)
                return
            try:
                connection, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(error.strerror or str(error))
                self._loop.call_later(_RETRY_AFTER, self.start)
                return
            connection.setblocking(False)
            self._open += 1
            task = self._loop.create_task(self._connect(connection), name="accepted-connection")
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _wait_for_a_place(self, *, is_needed: bool) -> None:
        """Stop accepting until a place is free. ``is_needed``: a client already waits for a place."""
        if self._close_idle is None:
            self._pause("the limit of open files is near (ulimit -Hn, LimitNOFILE)")
        elif is_needed and not self._is_closed:
            if self._close_idle() or self._connecting:
                self._stop()  # until that connection is closed, or until an accepted one can be closed
            else:
                self._pause("every connection has a request")
                self._loop.call_later(_RETRY_AFTER, self.start)

    def _pause(self, reason: str) -> None:
        self._stop()
        self._pauses.add((self._port,))
        now = self._loop.time()
        if now - self._warned_at >= _WARNING_INTERVAL:
            self._warned_at = now
            logger.warning(
                "accepting connections is paused until one closes: port=%s open=%s reason=%s",
                self._port,
                self._open,
                reason,
            )

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol_factory, connection)
        except OSError as error:  # the client disconnected before it was served
            logger.debug("connection lost before its first byte: %s", error)
            connection.close()
            self.connection_closed()
            return
        if self._close_idle is not None:
            self.start()


def _is_reused(listener: socket.socket) -> bool:
    return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def drop_handshakes(listener: socket.socket) -> bool:
    """Let the kernel drop each new SYN to the listener; clients repeat it after a second (RFC 6298).

    Return whether it does. Some kernels refuse filters of TCP to ordinary users, and a sandbox may refuse any.
    """
    if sys.platform != "linux":
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    described = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
    except OSError:
        return False
    return True
