"""The errors of the console."""

from gateway.metrics.recent_errors import RecentErrors


def test_each_code_has_its_number_and_its_last_image_and_the_latest_is_first() -> None:
    times = iter((1.0, 2.0, 3.0))
    errors = RecentErrors(lambda: next(times))
    errors.record("origin_timeout", "a")
    errors.record("image_not_found", None)
    errors.record("origin_timeout", "b")
    assert [error.as_json() for error in errors.newest()] == [
        {"code": "origin_timeout", "count": 2, "at": 3.0, "image_id": "b"},
        {"code": "image_not_found", "count": 1, "at": 2.0, "image_id": None},
    ]
    assert errors.totals() == {"origin_timeout": 2, "image_not_found": 1}
