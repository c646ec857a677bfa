"""``POST /api/v1/monitoring/beacons``: reports of browsers, as metrics.

The address is open to anyone, since pages need no credentials to report. So the numbers are hints, never a reason to
act on an image, and what one client can add is limited.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from gateway.access.client_address import ClientAddress
from gateway.api.beacon import Beacon
from gateway.api.beacon_metrics import BeaconMetrics
from gateway.api.json_body import Bodies
from gateway.concurrency.rate_limit import RateLimit
from gateway.delivery.request_context import peer_of
from gateway.errors import GatewayError, TooManyRequests, UnsupportedMediaType
from gateway.metrics.loop_counters import LoopCounter

MAX_BODY = 16 * 1024  # bytes
BURST = 100  # beacons of one client at once: pages that are hidden together
_PER_SECOND = 5.0
# Browsers send a string by sendBeacon as text/plain, which needs no CORS preflight.
_CONTENT_TYPES = frozenset({"text/plain", "application/json"})


class Beacons:
    """Validates and counts beacons. Uses neither Redis nor Postgres."""

    def __init__(self, metrics: BeaconMetrics, client_address: ClientAddress, bodies: Bodies) -> None:
        self._metrics = metrics
        self._client_address = client_address
        self._bodies = bodies
        self._limit = RateLimit(_PER_SECOND, BURST)

    async def receive(self, request: web.Request) -> web.Response:
        """Count a beacon. Raises the errors of ``Beacon.parse`` and ``Bodies.read``, and ``TooManyRequests``."""
        with _counted(self._metrics.client_beacons):
            wait = self._limit.wait(self._client_address.subscriber_of(request.headers, peer_of(request)))
            if wait > 0:
                raise TooManyRequests("beacons of one client", wait=wait)
            if request.content_type not in _CONTENT_TYPES:
                raise UnsupportedMediaType
            beacon = Beacon.parse(await self._bodies.read(request.clone(client_max_size=MAX_BODY)))
        beacon.count_in(self._metrics)
        return web.Response(status=204, headers={"Cache-Control": "no-store"})


@contextmanager
def _counted(counter: LoopCounter) -> Iterator[None]:
    try:
        yield
    except GatewayError as error:
        counter.add((error.code,))
        raise
    counter.add(("accepted",))
