"""Client connections: requests that are answered at once, malformed requests, slow clients."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from gateway.api.json_bodies import failure
from gateway.concurrency.rate_limit import RateLimit
from gateway.delivery.request_context import RequestContext
from gateway.errors import GatewayError, InvalidRequest, without_traceback
from gateway.server.slow_clients import SlowClients

if TYPE_CHECKING:  # the supervisor of workers loads nothing that serves images
    from gateway.api.image_handler import Exchange

logger = logging.getLogger("aiohttp.server")

# Seconds to read and discard a request body after the response: closing at once would reset the connection, and the
# client might never see the response.
_LINGER = 5.0
# Seconds in which the answer has to begin for a client that has sent its FIN: most have left, some only shut down.
_MAY_HAVE_LEFT = 2.0
_LOOKED_AT = 0.1  # seconds between two looks at the connection of such a client
_MOST_UNSENT = 256 * 1024  # bytes; half of it was up to a tenth slower at 10 MB, in rounds that differ as much
# Bytes of a head, and of the trailers of a body, above which the request is malformed. nginx takes 4 lines of 8 KiB.
# aiohttp limits lines alone (128 of 8,190 bytes): a megabyte, which is up to five in memory.
_MOST_OF_HEAD = 64 * 1024
_MOST_READ = 16 * 1024  # bytes at once, by which a head may be longer; asyncio reads 256 KiB
_MOST_WAITING = 2  # requests behind another one on their connection, until no more are read; aiohttp takes 32
_LINES = RateLimit(0.1, 1)  # about malformed requests, which any client can send: one in ten seconds
# Returns the response to a request of a client at that address, or what the task of the request gets by ``begun_by``.
AtOnce: TypeAlias = Callable[[RawRequestMessage, str | None], "bytes | Exchange | None"]


class Connection(web.RequestHandler):
    """A client's connection. Answers malformed requests with the gateway's JSON errors, which echo no byte of them.

    keepalive_timeout: limits idle connections and the time to send a request's head, in seconds.
    slow_clients: watches the client's pace while the connection is open.
    at_once: ``Dispatch.at_once``. None: aiohttp's task for the connection gets each request.
    """

    def __init__(
        self,
        manager: web.Server,
        keepalive_timeout: float,
        slow_clients: SlowClients,
        on_close: Callable[[], None],
        at_once: AtOnce | None = None,
    ) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=keepalive_timeout,
            # The largest valid body names 200 ids: no client needs to compress it, except for a decompression bomb.
            auto_decompress=False,
            lingering_time=min(_LINGER, keepalive_timeout),
            access_log=None,  # type: ignore[arg-type]  # then aiohttp writes no lines
        )
        self._max_msg_queue_size, self._msg_queue_resume_size = _MOST_WAITING, _MOST_WAITING - 1
        self._at_once = at_once
        self._begun: tuple[RawRequestMessage, Exchange | None] | None = None
        self._peer: str | None = None
        self._body: StreamReader = EMPTY_PAYLOAD  # of the newest request
        self._received = 0  # bytes since the newest head
        self._of_body = 0  # bytes of its body, when they were looked at
        self._is_malformed = False  # nothing that follows is a request
        self.has_lost_bytes = False
        self._slow_clients = slow_clients
        self._on_close = on_close

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start watching the client's pace."""
        super().connection_made(transport)
        self._client_transport = cast("asyncio.Transport", transport)
        self._client_transport.max_size = _MOST_READ  # type: ignore[attr-defined]  # of asyncio's own transports
        name = transport.get_extra_info("peername")
        self._peer = str(name[0]) if isinstance(name, tuple) else None
        self._slow_clients.watch(self._client_transport)
        # Bytes that the kernel does not accept are kept here; a writer waits until they are sent.
        self._client_transport.set_write_buffer_limits(high=0)
        _limit_unsent(self._client_transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request at once if the connection is idle and the answer needs nothing but memory.

        Otherwise aiohttp's task for the connection gets the request, as it gets every further request. Nothing is read
        after a malformed request: aiohttp's parser would fail at all of it, and each failure would keep its bytes.
        """
        if self._is_malformed:
            return
        waiter, self._waiter = self._waiter, None  # aiohttp would wake its task
        count = self._request_count
        super().data_received(data)
        self._waiter = waiter
        if self._request_count > count:
            self._received = self._of_body = 0
        elif self._is_too_long(len(data)):
            self._messages.append((_ErrInfo(400, LineTooLong(b"", _MOST_OF_HEAD), ""), EMPTY_PAYLOAD))
        else:
            return
        newest, body = self._messages[-1]
        if not isinstance(newest, RawRequestMessage):
            self._is_malformed = True
            without_traceback(newest.exc)
            self._end_body()
        else:
            if newest.upgrade and data.find(b"\r\n\r\n") + 4 < len(data):
                self.has_lost_bytes = True  # aiohttp's parser drops what came with a request for an upgrade
            if waiter is not None and not waiter.done() and self._is_answered(newest, body):
                waiter = None
        self._body = body
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _is_too_long(self, size: int) -> bool:
        """Count bytes that ended no head. Return whether too many have come that are of no body either."""
        self._received += size
        if self._received <= _MOST_OF_HEAD:
            return False
        before, self._of_body = self._of_body, self._body.total_bytes
        self._received = 0
        return self._of_body == before

    def _end_body(self) -> None:
        """End a body that is malformed. If its request has been answered, close: aiohttp would read on for seconds."""
        if self._body.is_eof():
            return
        if self._current_request is None and len(self._messages) == 1:
            self._body.feed_eof()
            self.force_close()
        else:
            self._lingering_time = 0.0
            self._body.set_exception(web.RequestPayloadError("the body is malformed"))

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio looks at the result
        """Return whether the connection stays open: the client has shut down its side, and waits for its answer.

        A client that has left sends the same FIN. Its RST comes once the answer begins, which therefore has to be soon.
        """
        stays = self._body.is_eof() and not self._has_answered_all()
        if stays:
            self._close_when_answered(None, self._loop.time())
        return stays

    def _has_answered_all(self) -> bool:
        return self.is_idle and not self._messages

    def _close_when_answered(self, request: web.BaseRequest | None, since: float) -> None:
        """Close the connection once its requests are answered, or if the answer to one of them does not begin."""
        current, now = self._current_request, self._loop.time()
        if current is not request:
            since = now
        is_late = now - since > _MAY_HAVE_LEFT and (current is None or current.writer.output_size == 0)
        if is_late or self._has_answered_all():
            self.force_close()
        elif self.transport is not None:
            self._loop.call_later(_LOOKED_AT, self._close_when_answered, current, since)

    def _is_answered(self, message: RawRequestMessage, body: StreamReader) -> bool:
        """Answer the only request that waits, and return True. If it cannot be answered at once, nothing is done."""
        transport, at_once = self._client_transport, self._at_once
        if (
            at_once is None
            or len(self._messages) > 1
            or body is not EMPTY_PAYLOAD
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

    def begun_by(self, message: RawRequestMessage) -> "Exchange | None":
        """Return the exchange that ``at_once`` began for the request in place of a response."""
        begun, self._begun = self._begun, None
        return begun[1] if begun is not None and begun[0] is message else None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop watching, and report the close."""
        self._slow_clients.watched.pop(self._client_transport, None)
        self._body = EMPTY_PAYLOAD  # a reference cycle
        super().connection_lost(exc)
        self._on_close()

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress: the client has sent none, or only a part of its head, since the last."""
        return self._waiter is not None and not self._waiter.done()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Return the error for a malformed request, or for a failure outside of the handler. Close the connection.

        aiohttp's own response quotes the received bytes. If a proxy in front sees the end of a request elsewhere than
        the gateway (RFC 9112 section 11.2), those bytes belong to the request of another client.
        """
        del message
        if not isinstance(exc, HttpProcessingError):
            logger.error("request could not be handled", exc_info=exc)
        elif _LINES.wait("") == 0:
            logger.info("malformed request: kind=%s", type(exc).__name__)
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
