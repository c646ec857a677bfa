"""The metrics of the life of a presigned URL: look-ups in its caches, and its renewal."""

from gateway.metrics.registry import Registry


class UrlMetrics:
    """Metrics of look-ups of presigned URLs (``unknown``: of a missing image), of renewals and their queue."""

    def __init__(self, registry: Registry) -> None:
        self.url_cache_lookups = registry.loop_counter(
            "url_cache_lookups",
            "Look-ups in a tier (local, redis) of the cache of presigned URLs; 'foreign': a gateway with another "
            "configuration or release wrote the entry.",
            ("tier", "result"),
            (("redis", "hit"), ("redis", "miss"), ("redis", "error"), ("redis", "foreign")),
        )
        self.descriptions = registry.loop_counter(
            "descriptions",
            "Images to be described by COS, for metadata: 'described', 'failed', or 'limited' (COS was not asked).",
            ("result",),
            ("described", "failed", "limited"),
        )
        self.refresh = registry.counter(
            "refresh", "Presigned URLs processed by the refresh task, by result.", ("result",)
        )
        self.refresh_queue_length = registry.optional_gauge(
            "refresh_queue_length", "Presigned URLs in the refresh queue."
        )
        self.refresh_due = registry.optional_gauge("refresh_due", "Presigned URLs that are due for renewal.")
        self.refresh_dead = registry.optional_gauge("refresh_dead", "Presigned URLs whose renewal failed for good.")
        self.refresh_lag = registry.optional_gauge(
            "refresh_lag_seconds", "Delay of the oldest renewal that is due; 0 when nothing is due."
        )
        self.refresh_cycle_duration = registry.histogram(
            "refresh_cycle_duration_seconds", "Duration of a cycle that renews everything due."
        )
        self.refresh_last_success = registry.gauge(
            "refresh_last_success_timestamp_seconds",
            "Unix time when the refresh task last had nothing left to renew; 0 without a refresh task.",
        )
        self.coalesced_requests = registry.coalesced_requests

    def lookups(self, tier: str, result: str) -> int:
        """Return the number of such look-ups since the start."""
        return self.url_cache_lookups.total((tier, result))

    def misses(self, tier: str) -> int:
        """Return the number of look-ups in ``tier`` that found no entry to use."""
        return sum(self.lookups(tier, result) for result in ("miss", "error", "foreign"))

    def hit_rate(self, tier: str | None = None) -> float | None:
        """Return the share of hits among the look-ups in ``tier``, or in both tiers together. None before the first."""
        if tier is None:
            hits = self.lookups("local", "hit") + self.lookups("redis", "hit")
            lookups = self.lookups("local", "hit") + self.lookups("local", "miss")
        else:
            hits = self.lookups(tier, "hit")
            lookups = hits + self.misses(tier)
        return hits / lookups if lookups else None
