"""Requests in the log."""

from gateway_dev.cos_emulator.request import CosRequest
from gateway_dev.cos_emulator.request_log import RequestLog


def test_the_request_log_is_bounded() -> None:
    request_log = RequestLog(capacity=2)
    for key in ("/a", "/b", "/c"):
        request_log.open(CosRequest("GET", "h", key), None, ("::1", 1))
    assert [seen.key for seen in request_log.requests] == ["b", "c"]
