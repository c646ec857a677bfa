"""The lock-free counters expose the samples that Prometheus expects, and the daily statistics read their totals."""

import pytest
from prometheus_client import generate_latest

from gateway.metrics.loop_counters import RequestMetrics
from gateway.service.metrics import Metrics


def test_requests_and_distributions_are_exposed_by_their_labels() -> None:
    metrics = Metrics()
    metrics.server.requests.record("short", "stream", "200", 0.001, 0.002)
    metrics.server.requests.record("short", "stream", "200", 0.3, None)
    metrics.server.requests.record("short", "none", "404", 100, None)

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"image_gateway_{name}", labels)

    assert sample("requests_total", route="short", delivery="stream", status="200") == 2
    assert sample("requests_total", route="short", delivery="none", status="404") == 1
    assert sample("request_duration_seconds_count", route="short") == 3
    assert sample("request_duration_seconds_sum", route="short") == 100.301
    assert sample("request_duration_seconds_bucket", route="short", le="0.001") == 1  # a bound belongs to its bucket
    assert sample("request_duration_seconds_bucket", route="short", le="0.5") == 2
    assert sample("request_duration_seconds_bucket", route="short", le="+Inf") == 3
    assert sample("time_to_first_byte_seconds_count", route="short") == 1
    assert b"# TYPE image_gateway_requests_total counter" in generate_latest(metrics.registry)


def test_an_objective_of_200_ms_can_be_counted() -> None:
    metrics = Metrics()
    for seconds in (0.199, 0.201):
        metrics.server.requests.record("short", "stream", "200", seconds, seconds)
    for name in ("request_duration_seconds", "time_to_first_byte_seconds"):
        labels = {"route": "short", "le": "0.2"}
        assert metrics.registry.get_sample_value(f"image_gateway_{name}_bucket", labels) == 1


@pytest.mark.parametrize(
    ("answered", "totals"),
    [
        ([("short", "stream", "200"), ("short", "redirect", "302"), ("proxy", "stream", "200")], (3, 0, 4)),
        ([("short", "none", "502"), ("short", "stream", "aborted"), ("short", "stream", "499")], (3, 2, 4)),
        ([("short", "none", status) for status in ("400", "401", "404", "405")], (0, 0, 0)),
        ([("url", "none", "200")], (0, 0, 0)),
    ],
)
def test_requests_for_images_are_summed_without_those_that_may_name_none(
    answered: list[tuple[str, str, str]], totals: tuple[int, int, int]
) -> None:
    requests = RequestMetrics([1.0])
    for route, delivery, status in answered:
        requests.record(route, delivery, status, 0.0015, None)
    assert requests.of_images({"short", "proxy"}) == totals
