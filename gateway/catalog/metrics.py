"""The metrics of Postgres: queries, the connections of all pools of this process, and the connection that listens."""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol, TypeAlias

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.metrics.registry import Registry

ConnectionState: TypeAlias = Literal["in_use", "idle", "abandoned"]


class ObservedPool(Protocol):
    """A pool of connections."""

    def connections(self) -> Mapping[ConnectionState, int]:
        """Return the number of connections in each state."""

    def waits(self) -> list[float]:
        """Return the seconds for which callers have been waiting for a connection, the longest first."""


class PostgresConnections(Collector):
    """Exports the state of the pools. ``pools`` are those that are open."""

    def __init__(self) -> None:
        self.pools: list[ObservedPool] = []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the sums of all pools."""
        connections = GaugeMetricFamily(
            "image_gateway_postgres_connections",
            "Connections to Postgres, without the one that listens: 'in_use', 'idle', or 'abandoned' (no caller waits "
            "for its query any more, and the server may still work on it).",
            labels=["state"],
        )
        counts = [pool.connections() for pool in self.pools]
        states: tuple[ConnectionState, ...] = ("in_use", "idle", "abandoned")
        for state in states:
            connections.add_metric([state], sum(count[state] for count in counts))
        yield connections
        waits = [seconds for pool in self.pools for seconds in pool.waits()]
        yield GaugeMetricFamily(
            "image_gateway_postgres_waiting", "Callers that wait for a connection to Postgres.", value=len(waits)
        )
        yield GaugeMetricFamily(
            "image_gateway_postgres_oldest_wait_seconds",
            "How long the first of these callers has been waiting; 0 if no caller waits.",
            value=max(waits, default=0.0),
        )

    describe = collect  # so the registry refuses another collector of these names


class CatalogMetrics:
    """Queries to the table of images, connections, and whether changes of rows are received."""

    def __init__(self, registry: Registry) -> None:
        self.catalog_queries = registry.counter(
            "catalog_queries",
            "Queries to the image catalog in Postgres, by result.",
            ("result",),
            ("found", "missing", "error", "unusable"),
        )
        self.postgres_connections = PostgresConnections()
        registry.register(self.postgres_connections)
        self.change_feed_connected = registry.gauge(
            "change_feed_connected", "1 if changes of rows are received, 0 if not; NaN if postgres.listen is off."
        )
        self.change_feed_connected.set(float("nan"))
        self.background_errors = registry.background_errors
