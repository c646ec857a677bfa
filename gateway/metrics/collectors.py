"""Every Prometheus collector of the gateway, on a registry of its own.

Labels take values from closed sets only: never an id, a key or a URL.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from gateway.metrics.loop_counters import LoopCounter, RequestMetrics

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The collectors, named by what they count; two gateways in one process have one each."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

        # By far the most often touched, so in collectors of their own.
        self.requests = RequestMetrics(_SECONDS)
        self.registry.register(self.requests)
        self.response_bytes = self._loop_counter("response_bytes", "Bytes of image bodies sent to clients.")
        self.inflight_requests = self._gauge("inflight_requests", "Requests being answered now.")
        self.client_connections = self._gauge("client_connections", "Open connections of clients.", ("port",))
        self.accept_pauses = self._counter(
            "accept_pauses", "Times that accepting connections paused, as descriptors ran short.", ("port",)
        )
        self.url_cache_lookups = self._loop_counter(
            "url_cache_lookups", "Looks into a tier (local, redis) of the presigned URL cache.", ("tier", "result")
        )
        self.presigns = self._counter("presigns", "Presigned URLs made.")
        self.catalog_queries = self._counter("catalog_queries", "Answers of Postgres about images.", ("result",))
        self.origin_requests = self._loop_counter(
            "origin_requests", "Answers of COS by status; 'timeout' and 'error' where there was none.", ("status",)
        )
        self.origin_errors = self._loop_counter(
            "origin_errors",
            "Failures of COS by bucket and by COS's error code; 'none' where it named none, 'timeout' and 'no_answer'.",
            ("bucket", "code"),
        )
        self.origin_retries = self._counter("origin_retries", "Requests to COS made again before the first byte.")
        self.origin_resumes = self._counter(
            "origin_resumes", "Bodies continued on another connection after COS broke off."
        )
        self.cos_clock_offset = self._gauge(
            "cos_clock_offset_seconds", "How far COS's clock is ahead of this machine's, once COS refused a URL for it."
        )
        self.cos_clock_difference = self._gauge(
            "cos_clock_difference_seconds", "How far COS's clock is ahead of this machine's by COS's latest Date."
        )
        self.memory_cache_bytes = self._gauge("memory_cache_bytes", "Bytes of images held in memory.")
        self.coalesced_requests = self._counter(
            "coalesced_requests", "Requests that joined the work of another for the same image."
        )
        self.accel_not_configured = self._counter(
            "accel_not_configured", "Requests for image_proxy.accel_prefix, which nginx should have served itself."
        )
        self.refresh = self._counter("refresh", "Presigned URLs dealt with by the refresh task.", ("result",))
        self.refresh_queue_length = self._gauge("refresh_queue_length", "Presigned URLs waiting for their renewal.")
        self.refresh_due = self._gauge("refresh_due", "Presigned URLs whose renewal is due.")
        self.refresh_dead = self._gauge("refresh_dead", "Presigned URLs whose renewal was given up.")
        self.refresh_lag = self._gauge(
            "refresh_lag_seconds", "How late the oldest renewal of the last batch was; 0 when nothing is due."
        )
        self.refresh_cycle_duration = self._histogram(
            "refresh_cycle_duration_seconds", "Time a cycle took to renew everything that was due."
        )
        self.refresh_last_success = self._gauge(
            "refresh_last_success_timestamp_seconds",
            "When the refresh task last had nothing left that was due, in Unix seconds; 0 where there is no such task.",
        )
        self.dependency_up = self._gauge(
            "dependency_up", "1 when the dependency answered the last time it was looked at, else 0.", ("dependency",)
        )

        self.background_errors = self._counter(
            "background_errors", "Unforeseen errors of background tasks, which go on all the same.", ("task",)
        )

    def _loop_counter(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> LoopCounter:
        counter = LoopCounter(f"image_gateway_{name}", documentation, labels)
        self.registry.register(counter)
        return counter

    def _counter(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"image_gateway_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"image_gateway_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str) -> Histogram:
        return Histogram(f"image_gateway_{name}", documentation, registry=self.registry, buckets=_SECONDS)
