"""The metrics of the ports, and of the requests that come through them."""

from collections import Counter
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from gateway.metrics.loop_counters import LoopCounter, RequestMetrics
from gateway.metrics.recent_errors import RecentErrors
from gateway.metrics.registry import SECONDS, Registry


class PortMetrics:
    """Metrics of clients' open connections, and of pauses in accepting them, by the label ``port``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "image_gateway_client_connections", "Open client connections.", ("port",), registry=registry
        )
        self.pauses = LoopCounter(
            "image_gateway_accept_pauses",
            "Pauses in accepting connections, because file descriptors ran short.",
            ("port",),
        )
        registry.register(self.pauses)
        # By port: returns the number of open connections by the address of the client, which is no label.
        self.clients: dict[str, Callable[[], Counter[str]]] = {}


class ServerMetrics:
    """Metrics of clients' requests: those ended and in flight, the latest errors, and the ports."""

    def __init__(self, registry: Registry) -> None:
        # Updated at every request, so without the locks of prometheus_client.
        self.requests = RequestMetrics(SECONDS)
        registry.register(self.requests)
        self.recent_errors = RecentErrors()
        self.inflight_requests = registry.gauge("inflight_requests", "Requests in flight.")
        self.ports = PortMetrics(registry)
        self.audit_lines_lost = registry.loop_counter(
            "audit_lines_lost", "Lines that are missing in the audit log; the log has them."
        )
