"""Connections of clients that speak no HTTP, or do not listen."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

from gateway.api.json_responses import failure
from gateway.delivery.request_context import RequestContext
from gateway.errors import GatewayError, InvalidRequest
from gateway.metrics.collectors import Metrics
from gateway.server.acceptor import Acceptor
from gateway.server.slow_clients import SlowClients

logger = logging.getLogger("aiohttp.server")

_LINGER = 5.0  # seconds to read on what nobody waits for, so that the client sees its answer before the close
_BACKLOG = 1024  # connections that may wait to be accepted; Linux takes no more than net.core.somaxconn


class Connection(web.RequestHandler):
    """What cannot be parsed is answered in the shape of all our errors, without a word of it.

    ``slow_clients`` looks after the client's pace for as long as the connection lasts, whatever is sent to it.
    """

    def __init__(
        self, manager: web.Server, *, slow_clients: SlowClients, closed: Callable[[], None], **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._slow_clients = slow_clients
        self._closed = closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._connected = cast("asyncio.Transport", transport)
        self._slow_clients.watch(self._connected)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has left, or was cut."""
        self._slow_clients.forget(self._connected)
        super().connection_lost(exc)
        self._closed()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a malformed request, or to a failure before or after it was taken; closes the connection.

        aiohttp's own would show a part of what was received. Where a proxy in front sees the end of a request
        elsewhere than we do (RFC 9112 section 11.2), that is somebody else's request.
        """
        del message
        logger.error("request could not be handled", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        error = InvalidRequest("the request is not valid HTTP") if status < 500 else GatewayError()
        context = RequestContext(None)
        response = failure(error, context.request_id)
        context.stamp(response)
        response.force_close()
        return response


class Site(web.BaseSite):
    """Listens on ``host`` and ``port`` for a runner.

    ``keepalive_timeout`` is how long a connection may idle, and how long a client may take over the head of a request.
    One that takes next to nothing of what was sent to it for ``unread_timeout`` seconds is cut. At most ``most``
    connections are open at once; ``label`` names the port in log and metrics.
    """

    def __init__(
        self,
        runner: web.AppRunner,
        host: str,
        port: int,
        *,
        keepalive_timeout: float,
        unread_timeout: float,
        most: int,
        label: str,
        metrics: Metrics,
        reuse_port: bool = False,
    ) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._keepalive_timeout = keepalive_timeout
        self._unread_timeout = unread_timeout
        self._reuse_port = reuse_port
        self._most = most
        self._label = label
        self._metrics = metrics
        self._listeners: list[socket.socket] = []
        self._acceptor: Acceptor | None = None

    @property
    def name(self) -> str:
        """Where it listens, as it was asked for."""
        return f"http://{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """Where it can be reached. Port 0 asks for any free one, so the number is known once it listens."""
        assert self._listeners, "not started"  # noqa: S101
        shown = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{shown}:{self._listeners[0].getsockname()[1]}"

    async def start(self) -> None:
        """Listen; raises ``OSError`` when the port cannot be had."""
        await super().start()
        loop = asyncio.get_running_loop()
        manager = self._runner.server
        assert manager is not None, "BaseSite.start() refuses a runner that was not set up"  # noqa: S101

        slow_clients = SlowClients(self._unread_timeout)

        def connection() -> Connection:
            return Connection(
                manager,
                slow_clients=slow_clients,
                closed=acceptor.closed_one,
                loop=loop,
                keepalive_timeout=self._keepalive_timeout,
                # Nobody has a reason to compress two hundred ids; a bomb of them would be one (and so would its error).
                auto_decompress=False,
                lingering_time=min(_LINGER, self._keepalive_timeout),
                access_log=None,
            )

        # It binds; accepting is not left to it.
        server = await loop.create_server(
            connection, self._host, self._port, reuse_port=self._reuse_port or None, start_serving=False
        )
        self._listeners = [bound.dup() for bound in server.sockets]
        server.close()
        for listener in self._listeners:
            listener.listen(_BACKLOG)
        self._acceptor = acceptor = Acceptor(
            self._listeners, connection, most=self._most, port=self._label, metrics=self._metrics
        )
        acceptor.start()

    async def stop(self) -> None:
        """Accept nothing more; open connections stay."""
        await super().stop()
        if self._acceptor is not None:
            self._acceptor.close()
