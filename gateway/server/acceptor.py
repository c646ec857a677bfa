"""Listen on a port, and accept connections: at most as many as the file descriptors of the process allow."""

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.concurrency.rate_limit import RateLimit
from gateway.net.port import cannot_listen, url_of
from gateway.server.connection import AtOnce, Connection
from gateway.server.metrics import PortMetrics
from gateway.server.slow_clients import SlowClients

logger = logging.getLogger(__name__)

# Seconds without a request after which a connection to an admin port is closed: places there are few.
ADMIN_KEEPALIVE: Final = 3.0
_BACKLOG: Final = 1024  # connections that may wait to be accepted; Linux caps it at net.core.somaxconn
_ACCEPTS_AT_ONCE: Final = 128  # then the event loop runs
_LAST_ACCEPTS: Final = 1024  # when the listener closes; clients may connect faster than the loop accepts
_RETRY_AFTER: Final = 1.0  # seconds, once the system has no descriptor or memory left, or every connection a request
_WARNING_INTERVAL: Final = 60.0  # seconds
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a port of the gateway, and the rules for its connections.

    keepalive_timeout: limits idle connections and the time to send a request's head, in seconds.
    max_connections: how many connections may be open. A further client waits.
    section: the name of the port in the configuration.
    label: the name of the port in metrics and log lines.
    closes_idle: a further client gets the place of the oldest idle connection instead.
    inherited: sockets that already exist. The site closes them. Without any, it opens ``host`` and ``port``.
    """

    host: str
    port: int
    keepalive_timeout: float
    max_connections: int
    section: str
    label: str
    closes_idle: bool = False
    reuse_port: bool = False
    inherited: Sequence[socket.socket] = ()


class Site(web.BaseSite):
    """Accepts clients' connections to a port while fewer than ``max_connections`` are open.

    Further clients wait in the backlog until a connection closes. asyncio's own server accepts until ``accept()``
    fails, then logs a traceback and retries at once. By then Redis, Postgres and COS have no descriptor left either.

    stall_timeout: a client that stalls for so many seconds is disconnected (``SlowClients``).
    at_once: ``Dispatch.at_once``, or None.
    """

    def __init__(
        self,
        runner: web.AppRunner,
        endpoint: Endpoint,
        stall_timeout: float,
        metrics: PortMetrics,
        at_once: AtOnce | None = None,
    ) -> None:
        super().__init__(runner)
        assert runner.server is not None, "BaseSite refuses a runner that was not set up"  # noqa: S101
        self._manager = runner.server
        self._endpoint = endpoint
        self._slow_clients = SlowClients(stall_timeout)
        self._at_once = at_once
        self._listeners = list(endpoint.inherited)
        self._pauses = metrics.pauses
        self._pauses.add((endpoint.label,), 0)
        self._loop = asyncio.get_running_loop()
        self._open = 0
        self._is_accepting = False
        self._is_closed = False
        self._warnings = RateLimit(1 / _WARNING_INTERVAL, 1)
        self._connecting: set[asyncio.Task[None]] = set()
        metrics.connections.labels(port=endpoint.label).set_function(lambda: self._open)
        metrics.clients[endpoint.label] = self._clients

    @property
    def name(self) -> str:
        """Return the URL of the site, which must be started: with port 0 the system chooses the port."""
        assert self._listeners, "not started"  # noqa: S101
        host, port = self._listeners[0].getsockname()[:2]
        if not self._endpoint.inherited:
            host = self._endpoint.host  # may be a name
        return url_of(host, port)

    async def start(self) -> None:
        """Listen and accept. Raises ``CannotListen`` if the port is not available."""
        await super().start()
        endpoint = self._endpoint
        with cannot_listen(endpoint.section, endpoint.host, endpoint.port):
            if not endpoint.inherited:
                # asyncio's server binds only.
                server = await self._loop.create_server(
                    asyncio.Protocol,
                    endpoint.host,
                    endpoint.port,
                    reuse_port=endpoint.reuse_port or None,
                    start_serving=False,
                )
                self._listeners = [bound.dup() for bound in server.sockets]
                server.close()
            # The parent of a worker only binds its socket; systemd's sockets already listen, with their own backlog.
            for listener in self._listeners:
                if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    listener.listen(_BACKLOG)
        self._start_accepting()

    async def stop(self) -> None:
        """Stop accepting, and close the listeners. Open connections stay open.

        Connections in the backlog are accepted before: the kernel resets them when the last descriptor is closed.
        With ``net.ipv4.tcp_migrate_req=1`` it hands those whose handshake is not complete to another listener.
        """
        await super().stop()
        self._is_closed = True
        is_accepting = self._is_accepting
        self._stop_accepting()
        for listener in self._listeners:
            if is_accepting:
                self._accept(listener, _LAST_ACCEPTS)
            listener.close()  # at once: what comes between the two is reset
        if self._connecting:  # for a turn of the loop or two; only then does the server know these connections
            await asyncio.wait(self._connecting)

    def _start_accepting(self) -> None:
        if not self._is_accepting and not self._is_closed:
            self._is_accepting = True
            for listener in self._listeners:
                self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _stop_accepting(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket, at_most: int = _ACCEPTS_AT_ONCE) -> None:
        for accepted in range(at_most):
            if self._open >= self._endpoint.max_connections:
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
                self._loop.call_later(_RETRY_AFTER, self._start_accepting)
                return
            connection.setblocking(False)
            self._open += 1
            task = self._loop.create_task(self._connect(connection), name="accepted-connection")
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _wait_for_a_place(self, *, is_needed: bool) -> None:
        """Stop accepting until a place is free. ``is_needed``: a client already waits for a place."""
        if not self._endpoint.closes_idle:
            self._pause("the limit of open files is near (ulimit -Hn, LimitNOFILE)")
        elif is_needed and not self._is_closed:
            if self._close_oldest_idle() or self._connecting:
                self._stop_accepting()  # until that connection is closed, or until an accepted one can be closed
            else:
                self._pause("every connection has a request")
                self._loop.call_later(_RETRY_AFTER, self._start_accepting)

    def _clients(self) -> "Counter[str]":
        """Return the number of open connections by the address of the client."""
        transports = [connection.transport for connection in self._manager.connections]
        # A client on a Unix socket has no address.
        return Counter(str((each.get_extra_info("peername") or ("",))[0]) for each in transports if each is not None)

    def _close_oldest_idle(self) -> bool:
        """Close the oldest connection without a request. Return False if there is no such connection."""
        for connection in self._manager.connections:
            if isinstance(connection, Connection) and connection.is_idle:
                connection.force_close()
                return True
        return False

    def _pause(self, reason: str) -> None:
        self._stop_accepting()
        label = self._endpoint.label
        self._pauses.add((label,))
        if self._warnings.wait("") == 0:
            logger.warning(
                "accepting connections is paused until one closes: port=%s open=%s reason=%s", label, self._open, reason
            )

    async def _connect(self, accepted: socket.socket) -> None:
        connection = Connection(
            self._manager, self._endpoint.keepalive_timeout, self._slow_clients, self._connection_closed, self._at_once
        )
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:  # the client disconnected before it was served
            logger.debug("connection lost before its first byte: %s", error)
            accepted.close()
            self._connection_closed()
            return
        if self._endpoint.closes_idle:
            self._start_accepting()

    def _connection_closed(self) -> None:
        """Give the place of a closed connection to the next client."""
        self._open -= 1
        self._start_accepting()
