"""The registry of a process, and the kinds of collectors that the rooms of the gateway make in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from gateway.metrics.loop_counters import LoopCounter, NamedCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

try:
    VERSION = version("image-gateway")
except PackageNotFoundError:
    VERSION = "unknown"


@dataclass(slots=True, eq=False)
class OptionalGauge(NamedCollector):
    """A gauge without labels, which has no sample before ``set`` and after ``set(None)``.

    It is for values that are read elsewhere. While such a value cannot be read, an old value would look current.
    """

    name: str
    documentation: str
    value: float | None = None

    def set(self, value: float | None) -> None:
        self.value = value

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(self.name, self.documentation, value=self.value)


def gauge_value(gauge: Gauge | OptionalGauge) -> float:
    """Return the value of a gauge without labels, or NaN if the gauge is absent."""
    for family in gauge.collect():
        for sample in family.samples:
            return float(sample.value)
    return float("nan")


@dataclass(slots=True, eq=False)
class CountedElsewhere(NamedCollector):
    """A counter whose value is what ``count`` returns at each scrape."""

    name: str
    documentation: str
    count: Callable[[], int]

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self.name, self.documentation, value=self.count())


def dropped_lines_counter(registry: CollectorRegistry, count: Callable[[], int]) -> CountedElsewhere:
    """Return the counter of lost lines of the log. The stream of the log counts them: a process has one."""
    documentation = "Lines of the log that were lost: its reader was too slow, or its disk full."
    counter = CountedElsewhere("image_gateway_log_lines_dropped", documentation, count)
    registry.register(counter)
    return counter


class Registry(CollectorRegistry):
    """The collectors of a process. The names of all but those about the process itself start with ``image_gateway_``.

    Several rooms count in ``background_errors`` and ``coalesced_requests``.
    """

    def __init__(self) -> None:
        super().__init__()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self)
        self.gauge("build_info", "Always 1; the version is the label.", ("version",)).labels(VERSION).set(1)
        self.background_errors = self.counter(
            "background_errors", "Unexpected errors in background tasks, which keep running.", ("task",)
        )
        self.coalesced_requests = self.counter(
            "coalesced_requests", "Requests that shared the work of another request for the same image."
        )

    def loop_counter(
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
        self.register(counter)
        return counter

    def counter(
        self, name: str, documentation: str, labels: tuple[str, ...] = (), values: tuple[str, ...] = ()
    ) -> Counter:
        """Return a counter with at most one label. The ``values`` of the label start at 0, as in ``loop_counter``."""
        counter = Counter(f"image_gateway_{name}", documentation, labels, registry=self)
        for value in values:
            counter.labels(value)
        return counter

    def gauge(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"image_gateway_{name}", documentation, labels, registry=self)

    def optional_gauge(self, name: str, documentation: str) -> OptionalGauge:
        gauge = OptionalGauge(f"image_gateway_{name}", documentation)
        self.register(gauge)
        return gauge

    def histogram(self, name: str, documentation: str) -> Histogram:
        return Histogram(f"image_gateway_{name}", documentation, registry=self, buckets=SECONDS)
