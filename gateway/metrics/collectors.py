"""Every Prometheus collector of the gateway.

Labels take values from closed sets only: never an id, a key or a URL.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Literal, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from gateway.metrics.canary import CanaryOutcomes
from gateway.metrics.client_loads import (
    LOAD_SECONDS,
    PAINT_SECONDS,
    PICTURE_BYTES,
    BytesSource,
    FailureKind,
    KnownSource,
    LoadResult,
)
from gateway.metrics.dropped_lines import DroppedLines
from gateway.metrics.events import EventLog
from gateway.metrics.loop_counters import LoopCounter, LoopTotal, MergedHistogram, RequestMetrics
from gateway.metrics.nginx_askers import NginxAskers
from gateway.metrics.optional_gauge import OptionalGauge
from gateway.metrics.port_metrics import PortMetrics
from gateway.metrics.postgres_connections import PostgresConnections
from gateway.metrics.recent_errors import RecentErrors

# Why nginx raised its floor, and with it forgot every copy: it started, it may have missed changes, or its memory of
# epochs was full.
FloorReason: TypeAlias = Literal["start", "gap", "full", "settings"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def _version() -> str:
    """Return the version of the installed package, "unknown" if it is not installed."""
    try:
        return version("image-gateway")
    except PackageNotFoundError:
        return "unknown"


VERSION = _version()


class Metrics:
    """The collectors of a gateway. The name of each attribute is the name of its metric without the prefix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

        self._gauge("build_info", "Always 1; the version is the label.", ("version",)).labels(VERSION).set(1)
        # Updated at every request, so without the locks of prometheus_client.
        self.requests = RequestMetrics(_SECONDS)
        self.registry.register(self.requests)
        self.recent_errors = RecentErrors()
        self.events = EventLog()
        self.sent_bytes = self._loop_counter(
            "sent_bytes",
            "Bytes of image bodies sent to clients, by where they were when the request came: 'memory' or 'cos'.",
            ("source",),
            ("memory", "cos"),
        )
        self.registry.register(
            LoopTotal("image_gateway_response_bytes", "Bytes of image bodies sent to clients.", self.sent_bytes)
        )
        self.inflight_requests = self._gauge("inflight_requests", "Requests in flight.")
        self.event_loop_lag = self._histogram(
            "event_loop_lag_seconds", "Delay of a timer of the event loop, measured twenty times a second."
        )
        self.ports = PortMetrics(self.registry)
        self.url_cache_lookups = self._loop_counter(
            "url_cache_lookups",
            "Look-ups in a tier (local, redis) of the cache of presigned URLs; 'foreign': a gateway with another "
            "configuration or release wrote the entry.",
            ("tier", "result"),
            (("redis", "hit"), ("redis", "miss"), ("redis", "error"), ("redis", "foreign")),
        )
        self.presigns = self._counter("presigns", "Presigned URLs made.")
        self.catalog_queries = self._counter(
            "catalog_queries",
            "Queries to the image catalog in Postgres, by result.",
            ("result",),
            ("found", "missing", "error", "unusable"),
        )
        self.postgres_connections = PostgresConnections()
        self.registry.register(self.postgres_connections)
        self.access_checks = self._loop_counter(
            "access_checks",
            "Access checks of proxies and CDNs by result; 'unavailable': denied because a store did not respond.",
            ("result",),
        )
        self.admin_attempts = self._loop_counter(
            "admin_attempts",
            "Requests with an admin token: 'accepted', 'refused' (a wrong one), or 'limited' (after many wrong ones).",
            ("result",),
            ("accepted", "refused", "limited"),
        )
        self.origin_requests = self._loop_counter(
            "origin_requests",
            "Requests to COS by status; 'timeout' and 'error' if COS did not respond.",
            ("status",),
            ("200", "403", "404", "429", "500", "503", "timeout", "error"),
        )
        self.origin_bucket_requests = self._loop_counter(
            "origin_bucket_requests", "Requests to COS by bucket, with or without an answer.", ("bucket",)
        )
        self.origin_slow = self._loop_counter(
            "origin_slow",
            "Answers of COS by bucket whose header took more than a second; images that COS processes do not count.",
            ("bucket",),
        )
        self.origin_errors = self._loop_counter(
            "origin_errors",
            "Failures of COS by bucket and by COS's error code; 'none' without a code, 'timeout', 'no_answer', and "
            "'body_lost' for a body of which the rest could not be had.",
            ("bucket", "code"),
        )
        self.credentials_expire = self._gauge(
            "credentials_expire_timestamp_seconds",
            "Unix time at which the newest credentials of the bucket end; absent if they never end.",
            ("bucket",),
        )
        self.credentials_refresh = self._counter(
            "credentials_refresh",
            "Requests for new credentials by result: 'refreshed', 'unchanged' or 'failed'.",
            ("result",),
            ("refreshed", "unchanged", "failed"),
        )
        self.origin_retries = self._counter("origin_retries", "Requests to COS repeated before the first byte.")
        self.origin_resumes = self._counter("origin_resumes", "Bodies resumed with a new request after COS broke off.")
        self.cos_clock_offset = self._gauge(
            "cos_clock_offset_seconds",
            "Seconds that COS's clock is ahead of this machine's; measured once COS refuses a URL for it.",
        )
        self.cos_clock_difference = self._gauge(
            "cos_clock_difference_seconds",
            "Seconds that COS's clock is ahead of this machine's, by its latest Date.",
        )
        self.variants = self._counter(
            "variants",
            "Renditions made by COS, and requests for one answered by another: COS refused it, or too many were new.",
            ("style", "format", "result"),
        )
        self.descriptions = self._loop_counter(
            "descriptions",
            "Images to be described by COS, for metadata: 'described', 'failed', or 'limited' (COS was not asked).",
            ("result",),
            ("described", "failed", "limited"),
        )
        self.memory_cache_bytes = self._gauge("memory_cache_bytes", "Bytes of images held in memory.")
        self.coalesced_requests = self._counter(
            "coalesced_requests", "Requests that shared the work of another request for the same image."
        )
        self.accel_not_configured = self._counter(
            "accel_not_configured", "Requests with image_proxy.delivery accel that came without accel.conf of nginx."
        )
        self.change_trigger_installed = self._gauge(
            "change_trigger_installed", "1 if changes of rows are notified, 0 if not; NaN if that is not known."
        )
        self.change_trigger_installed.set(float("nan"))
        self.change_feed_connected = self._gauge(
            "change_feed_connected", "1 if changes of rows are received, 0 if not; NaN if postgres.listen is off."
        )
        self.change_feed_connected.set(float("nan"))
        self.heartbeat_age = self._gauge(
            "heartbeat_age_seconds",
            "Seconds since this gateway sent the newest of its heartbeats that came back, among the notifications of "
            "changed rows ('rows') and the messages of replicas ('replicas').",
            ("from",),
        )
        self.trace_spans = self._counter(
            "trace_spans", "Spans of traces that were exported or, in a failed batch, dropped, by result.", ("result",)
        )
        self.nginx_config_mismatches = self._counter(
            "nginx_config_mismatches", "Requests for images through nginx files of another release."
        )
        self.nginx_misdirected = self._loop_counter(
            "nginx_misdirected",
            "Questions of nginx for changes that came to the public port, which has no answer.",
        )
        self.nginx_asked = NginxAskers()
        self.registry.register(self.nginx_asked)
        self.canary = CanaryOutcomes()
        self.registry.register(self.canary)
        self.nginx_epochs = self._counter("nginx_epochs", "Changes that made an nginx forget its copies of an image.")
        self.nginx_floors = self._counter(
            "nginx_floors",
            "Times that an nginx forgot every copy: it started, may have missed changes ('gap'), its zone was full, or "
            "a gateway started with other styles or variants, another bucket or table ('settings').",
            ("reason",),
            get_args(FloorReason),
        )
        self.refresh = self._counter("refresh", "Presigned URLs processed by the refresh task, by result.", ("result",))
        self.refresh_queue_length = self._optional_gauge("refresh_queue_length", "Presigned URLs in the refresh queue.")
        self.refresh_due = self._optional_gauge("refresh_due", "Presigned URLs that are due for renewal.")
        self.refresh_dead = self._optional_gauge("refresh_dead", "Presigned URLs whose renewal failed for good.")
        self.refresh_lag = self._optional_gauge(
            "refresh_lag_seconds", "Delay of the oldest renewal that is due; 0 when nothing is due."
        )
        self.refresh_cycle_duration = self._histogram(
            "refresh_cycle_duration_seconds", "Duration of a cycle that renews everything due."
        )
        self.refresh_last_success = self._gauge(
            "refresh_last_success_timestamp_seconds",
            "Unix time when the refresh task last had nothing left to renew; 0 without a refresh task.",
        )
        self.purges = self._counter(
            "purges",
            "Purges of changed images: 'sent', 'failed' (tried again), 'dead' (given up), 'postponed' or 'dropped'.",
            ("result",),
            ("sent", "failed", "dead", "postponed", "dropped"),
        )
        self.purge_lag = self._optional_gauge(
            "purge_lag_seconds", "Delay of the oldest purge that is due and not yet sent; 0 when nothing is due."
        )
        self.purge_queue_length = self._optional_gauge("purge_queue_length", "Images whose purge waits in the queue.")
        self.purge_dead = self._optional_gauge("purge_dead", "Images whose purge was given up.")
        self.invalidation_receivers = self._optional_gauge(
            "invalidation_receivers",
            "Processes that receive the invalidations of this one, itself included; absent while that is not known.",
        )
        self.config_last_reload_successful = self._gauge(
            "config_last_reload_successful", "1 if the last reload of the configuration was accepted, else 0."
        )
        self.config_last_reload_success = self._gauge(
            "config_last_reload_success_timestamp_seconds",
            "Unix time of the last reload of the configuration that was accepted; at first, of the start.",
        )
        self.dependency_up = self._gauge(
            "dependency_up",
            "1 if the last check of the dependency, which does what requests do, succeeded, else 0.",
            ("dependency",),
        )

        # What browsers report: untrusted, but bounded.
        self.client_beacons = self._loop_counter(
            "client_beacons", "Reports of browsers: 'accepted', or the code of the error.", ("result",)
        )
        self.client_loads = self._loop_counter(
            "client_loads", "Loads of images that browsers report, by result.", ("result",), get_args(LoadResult)
        )
        self.client_load_seconds = MergedHistogram(
            "image_gateway_client_load_seconds",
            "Time that browsers report from the start of a load until the image is shown, retries included.",
            LOAD_SECONDS,
        )
        self.client_paint_seconds = MergedHistogram(
            "image_gateway_client_paint_seconds",
            "Largest contentful paints (LCP) that browsers report, of pages where that is one of the images.",
            PAINT_SECONDS,
            get_args(BytesSource),
        )
        self.client_picture_bytes = MergedHistogram(
            "image_gateway_client_picture_bytes",
            "Bytes of the images that browsers report, by where they came from.",
            PICTURE_BYTES,
            get_args(KnownSource),
        )
        for histogram in (self.client_load_seconds, self.client_paint_seconds, self.client_picture_bytes):
            self.registry.register(histogram)
        self.client_attempts = self._loop_counter(
            "client_attempts", "Requests for the bytes of images that browsers report, retries included."
        )
        self.client_retries = self._loop_counter(
            "client_retries",
            "Retries that browsers report, by the reason why the attempt before failed.",
            ("reason",),
            get_args(FailureKind),
        )
        self.client_sources = self._loop_counter(
            "client_sources",
            "Loads that browsers report, by where the bytes came from: 'unknown' if the browser hides it.",
            ("source",),
            get_args(BytesSource),
        )

        self.dropped_lines = DroppedLines(self.registry)
        self.background_errors = self._counter(
            "background_errors", "Unexpected errors in background tasks, which keep running.", ("task",)
        )

    def _loop_counter(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...] = (),
        values: tuple[str, ...] | tuple[tuple[str, ...], ...] = (),
    ) -> LoopCounter:
        """Return a counter. Its ``values`` start at 0, so that ``rate()`` and ``increase()`` see the first increase."""
        counter = LoopCounter(f"image_gateway_{name}", documentation, labels)
        for value in values:
            counter.add(value if isinstance(value, tuple) else (value,), 0)
        self.registry.register(counter)
        return counter

    def _counter(
        self, name: str, documentation: str, labels: tuple[str, ...] = (), values: tuple[str, ...] = ()
    ) -> Counter:
        """Return a counter with at most one label. The ``values`` of the label start at 0, as in ``_loop_counter``."""
        counter = Counter(f"image_gateway_{name}", documentation, labels, registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def _gauge(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"image_gateway_{name}", documentation, labels, registry=self.registry)

    def _optional_gauge(self, name: str, documentation: str) -> OptionalGauge:
        gauge = OptionalGauge(f"image_gateway_{name}", documentation)
        self.registry.register(gauge)
        return gauge

    def _histogram(self, name: str, documentation: str) -> Histogram:
        return Histogram(f"image_gateway_{name}", documentation, registry=self.registry, buckets=_SECONDS)
