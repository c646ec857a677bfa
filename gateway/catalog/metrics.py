"""The metrics of Postgres: queries, and whether changes of rows are received."""

from gateway.catalog.pool import PostgresConnections
from gateway.metrics.registry import Registry


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
