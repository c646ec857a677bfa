"""Opens the aiohttp session to COS and the client on it."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from yarl import URL

from gateway.origin.client import ObservedAnswers, OriginClient, OriginRequest, send_once
from gateway.origin.cos_error import REQUEST_ID
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import READ_AHEAD
from gateway.origin.retry import Retries
from gateway.origin.waiting_limit import WaitingLimit
from gateway.settings import ImageProxySettings, Live

# The most running requests to COS for which no client waits.
MOST_UNATTENDED: Final = 32
_PROBES: Final = 4  # connections for readiness probes and diagnoses
_CONNECT_TIMEOUT: Final = 5.0  # seconds
_KEEPALIVE: Final = 30.0  # seconds

# Returns the context of a request, given its method and URL. The context gets the status and COS's request id.
ObserveRequest = Callable[[str, URL], AbstractContextManager[Callable[[int, str | None], None]]]


def observed(observe: ObserveRequest) -> ClientMiddlewareType:
    """Return a middleware that sends each request, also each retry, in a context of ``observe``."""

    async def send(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        with observe(request.method, request.url) as answered:
            response = await handler(request)
            answered(response.status, response.headers.get(REQUEST_ID))
            return response

    return send


@asynccontextmanager
async def open_origin(
    settings: Live[ImageProxySettings],
    *,
    max_connections: int,
    metrics: OriginMetrics,
    buckets: Collection[str] = (),
    credentials_refused: Callable[[str, str], None] | None = None,
    resolver: AbstractResolver | None = None,
    observe: ObserveRequest | None = None,
) -> AsyncIterator[OriginClient]:
    """Open a client on a new session. ``max_connections`` serve the requests of clients.

    buckets: the configured buckets.
    credentials_refused: gets the bucket and the URL when COS does not know the credentials of a URL.
    resolver: looks names up. None: the system's resolver.
    observe: makes the context in which a request is sent.
    """
    # So many that no request waits for a connection: the wait would count as a failure of COS and open its breaker.
    most = max_connections + MOST_UNATTENDED + _PROBES
    async with origin_session(
        timeout=settings.value.timeout, max_connections=most, resolver=resolver, observe=observe
    ) as session:
        yield OriginClient(
            session,
            timeout=settings.value.timeout,
            retries=Retries(settings.map(lambda image_proxy: image_proxy.retry_count)),
            observed=ObservedAnswers(metrics, buckets, credentials_refused),
            # With one bucket there is no other to leave places to.
            waiting=WaitingLimit(max(1, max_connections // 2)) if len(buckets) > 1 else None,
        )


def origin_session(
    *,
    timeout: float,
    max_connections: int,
    resolver: AbstractResolver | None = None,
    observe: ObserveRequest | None = None,
) -> aiohttp.ClientSession:
    """Return a session of at most ``max_connections``. A new connection may take ``timeout`` seconds.

    Each request is sent once, nothing is decompressed, no redirect is followed.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=_KEEPALIVE, resolver=resolver),
        request_class=OriginRequest,
        middlewares=(send_once,) if observe is None else (observed(observe), send_once),
        # Lengths must be those of the bytes that are passed on, so nothing is requested or decoded in compressed form.
        auto_decompress=False,
        # Suppressing the fields that aiohttp adds would cost a tenth of a request. Its Accept is */*, as is needed.
        headers={"Accept-Encoding": "identity", "User-Agent": "image-gateway"},
        cookie_jar=aiohttp.DummyCookieJar(),
        # No limit in total: a large image on a slow line is no error. The client bounds the waits for a response and
        # for its next bytes; ``connect`` bounds a new connection: name look-up, a free place, handshakes.
        timeout=aiohttp.ClientTimeout(total=None, connect=timeout, sock_connect=min(_CONNECT_TIMEOUT, timeout)),
        read_bufsize=READ_AHEAD,
        raise_for_status=False,
        trust_env=False,
    )
