"""The current findings of a process, since when each is seen, and their metric."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from prometheus_client.core import GaugeMetricFamily

from gateway.findings.finding import Finding
from gateway.metrics.loop_counters import NamedCollector


class CurrentFindings(NamedCollector):
    """Remembers since when each fault of the gateway has been seen, and is the metric of them.

    A fault that was absent in between begins anew. So does a fault that gets bad: a few errors before an outage are not
    its beginning.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[tuple[str, ...], bool], float] = {}  # by fault, and whether it is bad
        self._latest: Sequence[Finding] = ()

    def note(self, findings: Sequence[Finding], now: float) -> Sequence[Finding]:
        """Return the current findings, the worst first, with the times since when they are seen."""
        seen = {(finding.fault, is_bad) for finding in findings for is_bad in (False, finding.level == "bad")}
        self._since = {fault: self._since.get(fault, now) for fault in seen}
        since = self._since
        self._latest = [replace(found, since=since[found.fault, found.level == "bad"]) for found in findings]
        return self._latest

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "image_gateway_finding_since_timestamp_seconds",
            "Since when a finding of docs/findings.md is seen, in Unix seconds; absent while it is not seen.",
            labels=("finding", "level", "where"),
        )
        for labels, since in {
            (finding.name, finding.level, finding.place): finding.since or 0.0 for finding in self._latest
        }.items():
            family.add_metric(labels, since)
        yield family
