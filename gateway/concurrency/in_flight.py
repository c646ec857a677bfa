"""The requests in flight."""

import asyncio

from prometheus_client import Gauge


class InFlight:
    """The requests in flight, numbered in the order in which they started.

    ``started``: the number of the newest request.
    ``transports``: the connections of the requests in flight, by number.
    ``closes_connections``: each response that starts now announces the end of its connection: the gateway stops.

    The dispatch updates the first two for each request, so they are plain attributes.
    """

    def __init__(self, gauge: Gauge) -> None:
        self.started = 0
        self.closes_connections = False
        self.transports: dict[int, asyncio.Transport | None] = {}
        gauge.set_function(lambda: len(self.transports))

    def open_transports(self) -> list[asyncio.Transport]:
        """Return the connections of the requests in flight."""
        return [transport for transport in self.transports.values() if transport is not None]

    def any_before(self, number: int) -> bool:
        """Return whether any request with at most that number is in flight."""
        return any(other <= number for other in self.transports)

    def any(self) -> bool:
        """Return whether any request is in flight."""
        return bool(self.transports)
