"""Tests of ``gateway.metrics.nginx_askers``."""

from gateway.metrics.nginx_askers import NginxAskers


def test_no_other_name_pushes_out_an_nginx_that_still_asks() -> None:
    now = 1000.0
    askers = NginxAskers(lambda: now)
    askers.asks("edge")
    for number in range(1000):
        askers.asks(f"invented-{number}")
    assert len(askers.seconds()) == 100
    assert "edge" in askers.seconds()
    now += 61
    askers.asks("edge")
    askers.asks("late")
    assert {"edge", "late"} <= set(askers.seconds())
    assert len(askers.seconds()) == 100
