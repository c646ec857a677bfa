"""Client connections: malformed requests, slow clients, and the site that accepts them."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.api.json_responses import failure
from gateway.delivery.request_context import RequestContext
from gateway.errors import GatewayError, InvalidRequest
from gateway.net.port import url_of
from gateway.server.acceptor import Acceptor
from gateway.server.metrics import PortMetrics
from gateway.server.slow_clients import SlowClients

logger = logging.getLogger("aiohttp.server")

# Seconds to read and discard a request body after the response: closing at once would reset the connection, and the
# client might never see the response.
_LINGER = 5.0
# Seconds without a request after which a connection to an admin port is closed: places there are few.
ADMIN_KEEPALIVE = 3.0
_MOST_UNSENT = 256 * 1024  # bytes; half of it was up to a tenth slower at 10 MB, in rounds that differ as much
# Returns the response to a request of a client at that address, or what the task of the request gets by ``begun_by``.
AtOnce = Callable[[RawRequestMessage, str | None], object]
_BACKLOG = 1024  # connections that may wait to be accepted; Linux caps it at net.core.somaxconn


class Connection(web.RequestHandler):
    """Answers malformed requests with the gateway's JSON errors, which echo no byte of the request.

    slow_clients: watches the client's pace while the connection is open.
    on_close: is called once the connection is closed.
    at_once: ``Dispatch.at_once``. None: aiohttp's task for the connection gets each request.
    """

    def __init__(
        self,
        manager: web.Server,
        *,
        slow_clients: SlowClients,
        on_close: Callable[[], None],
        at_once: AtOnce | None = None,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._at_once = at_once
        self._begun: tuple[RawRequestMessage, object] | None = None
        self._peer: str | None = None
        self._slow_clients = slow_clients
        self._on_close = on_close

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start watching the client's pace."""
        super().connection_made(transport)
        self._client_transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self._peer = str(name[0]) if isinstance(name, tuple) else None
        self._slow_clients.watch(self._client_transport)
        # Bytes that the kernel does not accept are kept here; a writer waits until they are sent.
        self._client_transport.set_write_buffer_limits(high=0)
        _limit_unsent(self._client_transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request at once if the connection is idle and the answer needs nothing but memory.

        Otherwise aiohttp's task for the connection gets the request, as it gets every further request.
        """
        waiter, at_once = self._waiter, self._at_once
        if waiter is None or at_once is None:
            super().data_received(data)
            return
        self._waiter = None  # aiohttp would wake its task
        super().data_received(data)
        self._waiter = waiter
        if self._messages and not waiter.done() and not self._is_answered(at_once):
            waiter.set_result(None)

    def _is_answered(self, at_once: AtOnce) -> bool:
        """Answer the only request that waits, and return True. If it cannot be answered at once, nothing is done."""
        message, payload = self._messages[0]
        transport = self._client_transport
        if (
            len(self._messages) > 1
            or payload is not EMPTY_PAYLOAD
            or not isinstance(message, RawRequestMessage)
            or message.should_close
            or message.upgrade
            or transport.is_closing()
            or transport.get_write_buffer_size() > 0
        ):
            return False
        response = at_once(message, self._peer)
        if not isinstance(response, bytes):
            self._begun = (message, response)
            return False
        assert self._parser is not None and self._manager is not None, "the connection is open"  # noqa: S101, PT018
        self._messages.popleft()
        self._parser.message_consumed()
        self._manager.requests_count += 1
        transport.write(response)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        return True

    def begun_by(self, message: RawRequestMessage) -> object:
        """Return what ``at_once`` returned for the request in place of a response."""
        begun, self._begun = self._begun, None
        return begun[1] if begun is not None and begun[0] is message else None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop watching, and report the close."""
        self._slow_clients.unwatch(self._client_transport)
        super().connection_lost(exc)
        self._on_close()

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress: the client has sent none, or only a part of its head, since the last."""
        return self._waiter is not None and not self._waiter.done()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the error for a malformed request, or for a failure outside of the handler. Close the connection.

        aiohttp's own response quotes the received bytes. If a proxy in front sees the end of a request elsewhere than
        the gateway (RFC 9112 section 11.2), those bytes belong to the request of another client.
        """
        del message
        logger.error("request could not be handled", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun")
        error = InvalidRequest("the request is not valid HTTP") if status < 500 else GatewayError()
        context = RequestContext(None)
        response = failure(error, context.request_id)
        context.stamp(response)
        response.force_close()
        return response


def _limit_unsent(transport: asyncio.Transport) -> None:
    """Limit the unsent bytes in the kernel (TCP_NOTSENT_LOWAT, tcp(7)), which can be megabytes.

    Unlike a limit on the send buffer, it does not limit the bytes in flight to a fast but distant client.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    connection = transport.get_extra_info("socket")
    if option is not None:
        with contextlib.suppress(OSError):  # already closed
            connection.setsockopt(socket.IPPROTO_TCP, option, _MOST_UNSENT)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a site listens, and how it treats its connections.

    keepalive_timeout: limits idle connections and the time to send a request's head, in seconds.
    max_connections: how many connections may be open. A further client waits.
    label: the name of the port in metrics and log lines.
    closes_idle: a further client gets the place of the oldest idle connection instead.
    inherited: sockets that already exist. The site closes them. Without any, the site opens ``host`` and ``port``.
    """

    host: str
    port: int
    keepalive_timeout: float
    max_connections: int
    label: str
    closes_idle: bool = False
    reuse_port: bool = False
    inherited: Sequence[socket.socket] = ()


class Site(web.BaseSite):
    """Accepts the connections of a runner.

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
        self._at_once = at_once
        self._endpoint = endpoint
        self._stall_timeout = stall_timeout
        self._metrics = metrics
        self._listeners = list(endpoint.inherited)
        self._acceptor: Acceptor | None = None

    @property
    def name(self) -> str:
        """Return the configured address, in the form of aiohttp's runner."""
        return f"http://{self._endpoint.host}:{self._endpoint.port}"

    @property
    def url(self) -> str:
        """Return the URL of the site, which must be started: with port 0 the system chooses the port."""
        assert self._listeners, "not started"  # noqa: S101
        host, port = self._listeners[0].getsockname()[:2]
        if not self._endpoint.inherited:
            host = self._endpoint.host  # may be a name
        return url_of(host, port)

    async def start(self) -> None:
        """Listen and accept. Raises ``OSError`` if the port is not available."""
        await super().start()
        loop, endpoint = asyncio.get_running_loop(), self._endpoint
        manager = self._runner.server
        assert manager is not None, "BaseSite.start() refuses a runner that was not set up"  # noqa: S101

        slow_clients = SlowClients(self._stall_timeout)

        def connection() -> Connection:
            return Connection(
                manager,
                slow_clients=slow_clients,
                on_close=acceptor.connection_closed,
                at_once=self._at_once,
                loop=loop,
                keepalive_timeout=endpoint.keepalive_timeout,
                # The largest valid body names 200 ids: no client needs to compress it, except for a decompression bomb.
                auto_decompress=False,
                lingering_time=min(_LINGER, endpoint.keepalive_timeout),
                access_log=None,
            )

        if not endpoint.inherited:
            # asyncio's server binds only; ``Acceptor`` accepts.
            server = await loop.create_server(
                connection, endpoint.host, endpoint.port, reuse_port=endpoint.reuse_port or None, start_serving=False
            )
            self._listeners = [bound.dup() for bound in server.sockets]
            server.close()
        # The parent of a worker only binds its socket; systemd's sockets already listen, with their own backlog.
        is_shared = any(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for listener in self._listeners)
        for listener in self._listeners:
            if not is_shared:
                listener.listen(_BACKLOG)
        self._acceptor = acceptor = Acceptor(
            self._listeners,
            connection,
            max_connections=endpoint.max_connections,
            port=endpoint.label,
            metrics=self._metrics,
            is_shared=is_shared,
            close_idle=self._close_oldest_idle if endpoint.closes_idle else None,
        )
        acceptor.start()

    async def stop(self) -> None:
        """Stop accepting. Open connections stay open."""
        await super().stop()
        if self._acceptor is not None:
            try:
                await self._acceptor.finish_handshakes()
            finally:
                self._acceptor.close()

    def _close_oldest_idle(self) -> bool:
        manager = self._runner.server
        for connection in manager.connections if manager is not None else ():
            if isinstance(connection, Connection) and connection.is_idle:
                connection.force_close()
                return True
        return False
