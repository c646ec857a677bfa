"""The metrics of the ports of a process."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PortMetrics:
    """Open connections, and pauses in accepting them, by the label ``port``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "image_gateway_client_connections", "Open client connections.", ("port",), registry=registry
        )
        self.pauses = Counter(
            "image_gateway_accept_pauses",
            "Pauses in accepting connections, because file descriptors ran short.",
            ("port",),
            registry=registry,
        )
