"""The metric of the current findings."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily

from gateway.findings.finding import Finding
from gateway.metrics.loop_counters import NamedCollector


class CurrentFindings(NamedCollector):
    """The findings of this process as a metric, the worst first. ``latest`` is at most five seconds old."""

    def __init__(self) -> None:
        self.latest: Sequence[Finding] = ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "image_gateway_finding_since_timestamp_seconds",
            "Since when a finding of docs/findings.md is seen, in Unix seconds; absent while it is not seen.",
            labels=("finding", "level", "where"),
        )
        for labels, since in {
            (finding.name, finding.level, finding.place): finding.since or 0.0 for finding in self.latest
        }.items():
            family.add_metric(labels, since)
        yield family
