"""Expositions of workers become one."""

import asyncio
import gc
import math
import weakref

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric

from gateway.service.metrics import Metrics
from gateway.workers.merged_metrics import RULES, MergedMetrics, merged


class Worker:
    """A process with three metrics."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.registry = CollectorRegistry()
        self.counter = Counter("image_gateway_presigns", "c", ["kind"], registry=self.registry)
        self.histogram = Histogram("h_seconds", "h", buckets=(1, 2), registry=self.registry)
        self.gauge = Gauge("image_gateway_refresh_lag_seconds", "g", registry=self.registry)

    def text(self) -> str:
        """Return its exposition."""
        return generate_latest(self.registry).decode()


def read(merger: MergedMetrics, *workers: Worker) -> dict[str, list[Metric]]:
    """Scrape these workers."""
    return {str(number): merger.read(worker.ended, worker.text()) for number, worker in enumerate(workers, 1)}


def sample(families: list[Metric], name: str, **labels: str) -> float | None:
    """Return one sample of merged families."""
    found = [
        candidate.value
        for family in families
        for candidate in family.samples
        if (candidate.name, candidate.labels) == (name, labels)
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_counts_are_summed_by_label_and_bucket_and_gauges_follow_their_rule() -> None:
    first, second, merger = Worker(), Worker(), MergedMetrics()
    first.counter.labels("a").inc(3)
    second.counter.labels("a").inc(4)
    second.counter.labels("b").inc(5)
    first.histogram.observe(0.5)
    second.histogram.observe(1.5)
    first.gauge.set(7)
    second.gauge.set(2)
    families = merger.merge(read(merger, first, second))
    assert sample(families, "image_gateway_presigns_total", kind="a") == 7
    assert sample(families, "image_gateway_presigns_total", kind="b") == 5
    assert [sample(families, "h_seconds_bucket", le=le) for le in ("1.0", "2.0", "+Inf")] == [1, 2, 2]
    assert sample(families, "h_seconds_sum") == 2
    assert sample(families, "image_gateway_refresh_lag_seconds") == 7


def test_the_counts_of_a_worker_that_ended_or_did_not_answer_stay() -> None:
    first, second, merger = Worker(), Worker(), MergedMetrics()
    first.counter.labels("a").inc(3)
    second.counter.labels("a").inc(4)
    merger.merge(read(merger, first, second))
    assert sample(merger.merge(read(merger, second)), "image_gateway_presigns_total", kind="a") == 7
    first.ended.set()
    third = Worker()
    third.counter.labels("a").inc(1)
    families = merger.merge(read(merger, second, third))
    assert sample(families, "image_gateway_presigns_total", kind="a") == 8
    assert sample(families, "image_gateway_refresh_lag_seconds") == 0


def test_a_worker_that_has_ended_is_not_kept_while_nobody_scrapes() -> None:
    """As the parent reads the counts of a worker that is about to end."""
    first, second, merger = Worker(), Worker(), MergedMetrics()
    first.counter.labels("a").inc(3)
    read(merger, first)
    first.ended.set()
    kept = weakref.ref(first.ended)
    del first
    families = merger.merge(read(merger, second))
    gc.collect()
    assert kept() is None
    assert sample(families, "image_gateway_presigns_total", kind="a") == 3


def test_every_gauge_of_the_gateway_has_a_rule_and_every_rule_a_gauge() -> None:
    gauges = {family.name for family in Metrics().registry.collect() if family.type == "gauge"}
    assert {name for name in gauges if name.startswith("image_gateway_")} == set(RULES)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("image_gateway_inflight_requests", [1, 2], 3),
        ("image_gateway_dependency_up", [1, 0], 0),
        ("image_gateway_purge_lag_seconds", [1, 9], 9),
        ("image_gateway_cos_clock_difference_seconds", [3, -40], -40),
        ("image_gateway_change_trigger_installed", [math.nan, 1], 1),
        ("image_gateway_change_trigger_installed", [math.nan, math.nan], math.nan),
        ("image_gateway_change_feed_connected", [0, 1], 0),
        ("image_gateway_presigns_created", [100, 50], 50),
        ("image_gateway_of_a_later_release", [1, 2], 2),
    ],
)
def test_a_gauge_is_merged_by_its_rule(name: str, values: list[float], expected: float) -> None:
    assert merged(name, values) == pytest.approx(expected, nan_ok=True)
