"""Totals of the requests for images, for the daily statistics."""

from gateway.metrics.loop_counters import ImageRequests, RequestMetrics


def requests_of(*answered: tuple[str, str, str]) -> ImageRequests:
    """Requests of 1.5 ms by route, delivery and status."""
    requests = RequestMetrics([1.0])
    totals = ImageRequests(requests, {"short", "proxy"})
    for route, delivery, status in answered:
        requests.record(route, delivery, status, 0.0015, None)
    return totals


def test_requests_are_summed_over_routes_and_deliveries() -> None:
    totals = requests_of(("short", "stream", "200"), ("short", "redirect", "302"), ("proxy", "stream", "200"))
    assert (totals.count(), totals.errors(), totals.milliseconds()) == (3, 0, 4)


def test_5xx_and_aborted_answers_are_errors() -> None:
    totals = requests_of(("short", "none", "502"), ("short", "stream", "aborted"), ("short", "stream", "499"))
    assert (totals.count(), totals.errors()) == (3, 2)


def test_a_request_that_may_name_no_image_is_left_out() -> None:
    totals = requests_of(*(("short", "none", status) for status in ("400", "401", "404", "405")))
    assert (totals.count(), totals.milliseconds()) == (0, 0)


def test_routes_that_name_no_image_are_left_out() -> None:
    assert requests_of(("urls", "none", "200")).count() == 0


def test_nothing_is_counted_before_the_first_request() -> None:
    assert requests_of().count() == 0
