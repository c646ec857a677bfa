"""The metrics of Postgres: queries, the connections of all pools of this process, and whether changes are received."""

from functools import partial

from gateway.catalog.pool import Pool
from gateway.metrics.registry import Registry


class CatalogMetrics:
    """Metrics of Postgres: queries of image rows, connections, and whether changes of rows are received.

    pools: the open pools of connections.
    """

    def __init__(self, registry: Registry) -> None:
        self.pools: list[Pool] = []
        self.catalog_queries = registry.counter(
            "catalog_queries",
            "Queries to the image catalog in Postgres, by result.",
            ("result",),
            ("found", "missing", "error", "unusable"),
        )
        connections = registry.gauge(
            "postgres_connections",
            "Connections to Postgres that read rows: 'in_use', 'idle', or 'abandoned' (no caller waits for its query "
            "any more, and the server may still work on it).",
            ("state",),
        )
        for state in ("in_use", "idle", "abandoned"):
            connections.labels(state).set_function(partial(self._connections, state))
        registry.gauge("postgres_waiting", "Callers that wait for a connection to Postgres.").set_function(
            lambda: len(self._waits())
        )
        registry.gauge(
            "postgres_oldest_wait_seconds",
            "How long the first of these callers has been waiting; 0 if no caller waits.",
        ).set_function(lambda: max(self._waits(), default=0.0))
        self.change_feed_connected = registry.gauge(
            "change_feed_connected", "1 if changes of rows are received, 0 if not; NaN if postgres.listen is off."
        )
        self.change_feed_connected.set(float("nan"))
        self.background_errors = registry.background_errors

    def _connections(self, state: str) -> int:
        return sum(pool.connections()[state] for pool in self.pools)

    def _waits(self) -> list[float]:
        return [seconds for pool in self.pools for seconds in pool.waits()]
