"""The metrics of purges."""

from gateway.metrics.registry import Registry


class PurgeMetrics:
    """Metrics of purges of the CDN, by result, and of their queue."""

    def __init__(self, registry: Registry) -> None:
        self.purges = registry.counter(
            "purges",
            "Purges of changed images: 'sent', 'failed' (tried again), 'dead' (given up), 'postponed' or 'dropped'.",
            ("result",),
            ("sent", "failed", "dead", "postponed", "dropped"),
        )
        self.purge_repeats = registry.counter(
            "purge_repeats", "Purges sent a second time: a gateway was not known to have heard of the change."
        )
        self.purge_lag = registry.optional_gauge(
            "purge_lag_seconds", "Delay of the oldest purge that is due and not yet sent; 0 when nothing is due."
        )
        self.purge_queue_length = registry.optional_gauge(
            "purge_queue_length", "Images whose purge waits in the queue."
        )
        self.purge_dead = registry.optional_gauge("purge_dead", "Images whose purge was given up.")
        self.background_errors = registry.background_errors
