"""The errors of the console."""

from dataclasses import asdict

from gateway.metrics.recent_errors import RecentErrors


def test_each_code_has_its_number_and_its_last_image_and_the_latest_is_first() -> None:
    times = iter((1.0, 2.0, 3.0))
    errors = RecentErrors(lambda: next(times))
    errors.record("origin_timeout", "a", "r1")
    errors.record("image_not_found", None, "r2")
    errors.record("origin_timeout", "b", "r3")
    assert [asdict(error) for error in errors.newest()] == [
        {"code": "origin_timeout", "count": 2, "at": 3.0, "image_id": "b"},
        {"code": "image_not_found", "count": 1, "at": 2.0, "image_id": None},
    ]
    assert errors.request("r1") == {"request_id": "r1", "failed_at": 1.0, "code": "origin_timeout"}
    assert errors.request("r4") == {"request_id": "r4", "failed_at": None, "code": None}
    assert errors.totals() == {"origin_timeout": 2, "image_not_found": 1}
