"""Opens the connections to COS and the client on them."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver

from gateway.origin.client import CosConnections, ObservedAnswers, ObserveRequest, OriginClient
from gateway.origin.metrics import OriginMetrics
from gateway.origin.retry import Retries
from gateway.settings import ImageProxySettings, Live

# The most running requests to COS for which no client waits.
MOST_UNATTENDED: Final = 32
_PROBES: Final = 4  # connections for readiness probes and diagnoses
_KEEPALIVE: Final = 30.0  # seconds


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
    """Open a client on new connections. ``max_connections`` serve the requests of clients.

    buckets: the configured buckets.
    credentials_refused: gets the bucket and the URL when COS does not know the credentials of a URL.
    resolver: looks names up. None: the system's resolver.
    observe: makes the context in which a request is sent.
    """
    # So many that no request waits for a connection: the wait would count as a failure of COS and open its breaker.
    most = max_connections + MOST_UNATTENDED + _PROBES
    connector = aiohttp.TCPConnector(limit=most, keepalive_timeout=_KEEPALIVE, resolver=resolver)
    async with CosConnections(connector, timeout=settings.value.timeout, observe=observe) as connections:
        yield OriginClient(
            connections,
            timeout=settings.value.timeout,
            retries=Retries(settings.map(lambda image_proxy: image_proxy.retry_count)),
            observed=ObservedAnswers(metrics, buckets, credentials_refused),
            # With one bucket there is no other to leave places to.
            most_waiting=max(1, max_connections // 2) if len(buckets) > 1 else None,
        )
