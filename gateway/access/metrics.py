"""The metrics of checks of access."""

from gateway.metrics.registry import Registry


class AccessMetrics:
    """Metrics of requests with an admin token, and of proxies' questions whether a client may view an image."""

    def __init__(self, registry: Registry) -> None:
        self.admin_attempts = registry.loop_counter(
            "admin_attempts",
            "Requests with an admin token: 'accepted', 'refused' (a wrong one), or 'limited' (after many wrong ones).",
            ("result",),
            ("accepted", "refused", "limited"),
        )
        self.access_checks = registry.loop_counter(
            "access_checks",
            "Access checks of proxies and CDNs by result; 'unavailable': denied because a store did not respond.",
            ("result",),
        )
        self.background_errors = registry.background_errors
