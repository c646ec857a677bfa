"""The aiohttp session that talks to COS: one try for each request, nothing undone, nothing followed."""

import select
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_middlewares import ClientHandlerType
from aiohttp.connector import Connection

from gateway.origin.origin_response import READ_AHEAD

_CONNECT_TIMEOUT: Final = 5.0
_KEEPALIVE: Final = 30.0
# What poll(2) reports once the other end has closed or reset; elsewhere than on Linux a FIN goes unnoticed.
_CLOSED: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class ConnectionLost(aiohttp.ClientError):
    """The connection ended before COS answered; whether COS saw the request is not known."""


class NothingSent(aiohttp.ClientError):
    """The connection had ended before the request was written: COS saw nothing of it."""


class OriginRequest(aiohttp.ClientRequest):
    """A request that is not written to a kept-alive connection which COS has closed meanwhile."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request; raises ``NothingSent``."""
        if _is_closed_by_peer(conn):
            raise NothingSent("a kept-alive connection was closed")
        try:
            return await super().send(conn)
        except aiohttp.ClientConnectionResetError as error:
            raise NothingSent("a kept-alive connection was closed") from error.with_traceback(None)


async def only_once(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Send ``request`` one time.

    aiohttp repeats GET and HEAD by itself when a connection is lost, uncounted and beside the retry budget. It does so
    for two of its own exceptions, so they must not reach it.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, TimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLost(type(error).__name__) from error.with_traceback(None)


def origin_session(
    *, timeout: float, max_connections: int, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """Return a session of at most ``max_connections``; a new connection may take ``timeout`` seconds.

    ``resolver`` looks names up; None is the system's.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=_KEEPALIVE, resolver=resolver),
        request_class=OriginRequest,
        middlewares=(only_once,),
        # Lengths must be those of the bytes that are passed on, so nothing is asked for or undone in compressed form.
        auto_decompress=False,
        # To have aiohttp leave out what it sends by itself would cost a tenth of a request; its Accept says */*, too.
        headers={"Accept-Encoding": "identity", "User-Agent": "image-gateway"},
        cookie_jar=aiohttp.DummyCookieJar(),
        # No limit in all: a large image on a slow line is no error. Waiting for an answer and for its next bytes is
        # bounded by the client; ``connect`` is of a new connection: the name looked up, a place, the handshakes.
        timeout=aiohttp.ClientTimeout(total=None, connect=timeout, sock_connect=min(_CONNECT_TIMEOUT, timeout)),
        read_bufsize=READ_AHEAD,
        raise_for_status=False,
        trust_env=False,
    )


def _is_closed_by_peer(conn: Connection) -> bool:
    """Whether the end of the connection has arrived, though the event loop has not come to it yet."""
    transport = conn.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None:
        return True
    poll = select.poll()
    poll.register(connection, _CLOSED)
    return bool(poll.poll(0))
