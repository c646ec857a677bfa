"""The requests in flight."""

from gateway.server.dispatch import InFlight
from gateway.service.metrics import Metrics


def test_requests_are_in_flight_until_they_end_in_any_order() -> None:
    metrics = Metrics()
    in_flight = InFlight(metrics.server.inflight_requests)
    assert not in_flight.any()
    in_flight.transports = {1: None, 2: None}
    del in_flight.transports[1]
    assert in_flight.any()
    assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 1
    del in_flight.transports[2]
    assert not in_flight.any()
    assert metrics.registry.get_sample_value("image_gateway_inflight_requests") == 0


def test_any_before_ignores_later_requests() -> None:
    in_flight = InFlight(Metrics().server.inflight_requests)
    in_flight.transports = {7: None}
    assert in_flight.any_before(7)
    in_flight.transports = {8: None}
    assert in_flight.any()
    assert not in_flight.any_before(7)
