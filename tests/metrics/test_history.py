"""The points of the last day."""

import pytest

from gateway.metrics.history import History
from gateway.service.metrics import Metrics


def test_a_point_has_what_happened_since_the_one_before() -> None:
    metrics = Metrics()
    metrics.server.requests.record("short", "stream", "200", 0.02, None)
    history = History(metrics.counted, 100)
    metrics.server.requests.record("short", "stream", "200", 0.02, None)
    metrics.server.requests.record("proxy", "stream", "502", 0.02, None)
    metrics.server.requests.record("url", "none", "200", 9, None)  # no image
    metrics.origin.sent_bytes.add(("memory",), 7)
    metrics.server.recent_errors.record("origin_unavailable", "a", "r1")
    metrics.origin.origin_errors.add(("pictures", "AccessDenied"))
    metrics.dropped_lines.count = lambda: 3
    point = history.record(105)
    assert (point.at, point.span) == (105, 5)
    assert point.counts == {
        "status 200": 1,
        "status 502": 1,
        "bytes memory": 7,
        "error origin_unavailable": 1,
        "cos_error pictures AccessDenied": 1,
        "log_lines_dropped": 3,
    }
    idle = history.record(110)
    assert (idle.counts, idle.quantiles) == ({}, None)
    assert history.as_json(since=105) == {"fine": [idle.as_json()], "coarse": []}


def test_quantiles_are_interpolated_within_their_bucket_and_end_at_the_last_bound() -> None:
    metrics = Metrics()
    history = History(metrics.counted, 0)
    for _ in range(100):
        metrics.server.requests.record("short", "stream", "200", 0.08, None)  # the bucket from 0.05 to 0.1
    assert history.record(5).quantiles == pytest.approx((0.075, 0.0975, 0.0995))
    metrics.server.requests.record("short", "stream", "200", 1000, None)
    assert history.record(10).quantiles == (60, 60, 60)


def test_twelve_points_make_a_minute_and_both_kinds_are_bounded() -> None:
    metrics = Metrics()
    history = History(metrics.counted, 0)
    for number in range(1, 12 * 1500 + 1):
        metrics.origin.sent_bytes.add(("cos",))
        history.record(5 * number)
    assert len(history.fine) == 180
    coarse = history.coarse
    assert len(coarse) == 1440
    assert (coarse[-1].at, coarse[-1].span, coarse[-1].counts) == (90_000, 60, {"bytes cos": 12})


@pytest.mark.parametrize("step", [0, -30])
def test_a_clock_that_stands_still_or_goes_back_leaves_a_span_to_divide_by(step: int) -> None:
    history = History(Metrics().counted, 100)
    assert history.record(100 + step).as_json()["span"] == 0.001
