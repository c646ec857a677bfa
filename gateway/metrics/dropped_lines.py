"""The count of lost lines of the log. The stream of the log counts them, and a process has one such stream."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry


class DroppedLines(Collector):
    """Calls ``count`` at each scrape."""

    def __init__(self, registry: CollectorRegistry, count: Callable[[], int] = lambda: 0) -> None:
        self.count = count
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the current count."""
        yield CounterMetricFamily(
            "image_gateway_log_lines_dropped",
            "Lines of the log that were lost: its reader was too slow, or its disk full.",
            value=self.count(),
        )

    describe = collect  # so the registry refuses another collector of this name
