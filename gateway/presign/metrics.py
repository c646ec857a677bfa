"""The metrics of presigned URLs, and of the credentials and the clock that they are signed by."""

from gateway.metrics.registry import Registry


class PresignMetrics:
    """Metrics of presigned URLs, of the ends and refreshes of credentials, and of COS's clock."""

    def __init__(self, registry: Registry) -> None:
        self.presigns = registry.counter("presigns", "Presigned URLs made.")
        self.credentials_expire = registry.gauge(
            "credentials_expire_timestamp_seconds",
            "Unix time at which the newest credentials of the bucket end; absent if they never end.",
            ("bucket",),
        )
        self.credentials_refresh = registry.counter(
            "credentials_refresh",
            "Requests for new credentials by result: 'refreshed', 'unchanged' or 'failed'.",
            ("result",),
            ("refreshed", "unchanged", "failed"),
        )
        self.cos_clock_offset = registry.gauge(
            "cos_clock_offset_seconds",
            "Seconds that COS's clock is ahead of this machine's; measured once COS refuses a URL for it.",
        )
        self.cos_clock_difference = registry.gauge(
            "cos_clock_difference_seconds", "Seconds that COS's clock is ahead of this machine's, by its latest Date."
        )
        self.background_errors = registry.background_errors
