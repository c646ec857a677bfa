"""Which requests are being answered."""

import pytest

from gateway.metrics import Metrics
from gateway.ops.in_flight import InFlight


def test_requests_are_in_flight_until_they_end_in_any_order() -> None:
    metrics = Metrics()
    in_flight = InFlight(metrics)
    assert not in_flight.any()
    first, second = in_flight.request(), in_flight.request()
    with first:
        second.__enter__()
    assert in_flight.any()
    assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 1
    second.__exit__(None, None, None)
    assert not in_flight.any()
    assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 0


def test_those_that_began_before_a_point_are_told_from_those_after() -> None:
    in_flight = InFlight(Metrics())
    with in_flight.request():
        mark = in_flight.mark()
        assert in_flight.any_before(mark)
    with in_flight.request():
        assert in_flight.any()
        assert not in_flight.any_before(mark)


def test_a_request_that_fails_is_over_too() -> None:
    in_flight = InFlight(Metrics())
    with pytest.raises(KeyError), in_flight.request():
        raise KeyError
    assert not in_flight.any()
