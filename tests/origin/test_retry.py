"""Number and pauses of retries."""

import pytest

from gateway.origin.retry import Retries, backoff, retry_after
from gateway.settings import Live


def test_a_budget_is_a_share_of_the_requests() -> None:
    budget = Retries(Live(3), ratio=0.25, reserve=2)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.requests += 4
    assert [budget.spend() for _ in range(2)] == [True, False]
    budget.requests += 100
    assert [budget.spend() for _ in range(3)] == [True, True, False], "never more than the reserve"


def test_pauses_grow_to_a_cap_and_are_jittered() -> None:
    assert [backoff(attempt, lambda: 1.0) for attempt in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff(5, lambda: 0.0) == 0


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("17", 17),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        *((invalid, None) for invalid in ("-1", "soon", "1.5", "9" * 5000, "²", "Sun, 99 Foo")),
    ],
)
def test_retry_after_is_a_number_or_a_date(field: str | None, seconds: float | None) -> None:
    assert retry_after(field, now=lambda: 100.0) == seconds
