"""The metrics of a process: those of each room, in one registry."""

from gateway.access.metrics import AccessMetrics
from gateway.api.beacons import BeaconMetrics
from gateway.catalog.metrics import CatalogMetrics
from gateway.delivery.nginx_files import NginxMetrics
from gateway.metrics.canary import CanaryOutcomes
from gateway.metrics.events import EventLog
from gateway.metrics.findings import CurrentFindings
from gateway.metrics.history import MISDIRECTED, Counted
from gateway.metrics.registry import Registry, dropped_lines_counter
from gateway.monitoring.metrics import MonitoringMetrics
from gateway.monitoring.symptoms import Gauges
from gateway.origin.metrics import OriginMetrics
from gateway.presign.metrics import PresignMetrics
from gateway.process.logs import dropped_lines
from gateway.process.reloader import ReloadMetrics
from gateway.purge.metrics import PurgeMetrics
from gateway.server.metrics import ServerMetrics
from gateway.urls.metrics import UrlMetrics


class Metrics:
    """The metrics of every package, in one registry. They exist with any settings."""

    def __init__(self) -> None:
        self.registry = registry = Registry()
        self.server = ServerMetrics(registry)
        self.events = EventLog()
        self.catalog = CatalogMetrics(registry)
        self.access = AccessMetrics(registry)
        self.origin = OriginMetrics(registry)
        self.presign = PresignMetrics(registry)
        self.urls = UrlMetrics(registry)
        self.purge = PurgeMetrics(registry)
        self.nginx = NginxMetrics(registry)
        self.monitoring = MonitoringMetrics(registry)
        self.beacons = BeaconMetrics(registry)
        self.reload = ReloadMetrics(registry, self.events)
        self.canary = CanaryOutcomes()
        registry.register(self.canary)
        self.findings = CurrentFindings()
        registry.register(self.findings)
        self.dropped_lines = dropped_lines_counter(registry, dropped_lines)
        self.heartbeat_age = registry.gauge(
            "heartbeat_age_seconds",
            "Seconds since this gateway sent the newest of its heartbeats that came back, among the notifications of "
            "changed rows ('rows') and the messages of replicas ('replicas').",
            ("from",),
        )
        self.trace_spans = registry.counter(
            "trace_spans", "Spans of traces that were exported or, in a failed batch, dropped, by result.", ("result",)
        )

    @property
    def counted(self) -> Counted:
        """What a history of this process is made of."""
        origin, beacons = self.origin, self.beacons
        return Counted(
            self.server.requests,
            self.server.recent_errors,
            (
                ("lookup", self.urls.url_cache_lookups),
                ("bytes", origin.sent_bytes),
                ("origin", origin.origin_requests),
                ("cos_error", origin.origin_errors),
                ("asked", origin.origin_bucket_requests),
                ("slow", origin.origin_slow),
                (MISDIRECTED, self.nginx.nginx_misdirected),
                ("nginx_files_old", self.nginx.nginx_config_mismatches),
                ("open_files_short", self.server.ports.pauses),
                ("audit_lines_lost", self.server.audit_lines_lost),
                ("load", beacons.client_loads),
                ("retry", beacons.client_retries),
                ("source", beacons.client_sources),
                ("paint", beacons.client_paint_seconds),
                ("size", beacons.client_picture_bytes),
            ),
            self.dropped_lines,
        )

    @property
    def gauges(self) -> Gauges:
        """What is judged for the list of current problems."""
        return Gauges(
            trigger_installed=self.monitoring.change_trigger_installed,
            reload_successful=self.reload.config_last_reload_successful,
            refresh_lag=self.urls.refresh_lag,
            dead=self.urls.refresh_dead,
            purge_lag=self.purge.purge_lag,
            purge_dead=self.purge.purge_dead,
            redis_evicts=self.monitoring.redis_evicts,
            nginx=self.nginx.nginx_asked,
            canary=self.canary,
        )
