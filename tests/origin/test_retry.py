"""How often, and after what pause, a request is made again."""

import pytest

from gateway.origin.circuit_breakers import BucketBreaker, CircuitBreakers
from gateway.origin.retry import Backoff, RetryBudget, retry_after


def test_a_budget_is_a_share_of_the_requests() -> None:
    budget = RetryBudget(ratio=0.25, reserve=2)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.earn()
    assert [budget.spend() for _ in range(2)] == [True, False]
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]  # no more than the reserve gathers


def test_pauses_grow_to_a_cap_and_are_jittered() -> None:
    assert [Backoff(lambda: 1.0).pause(attempt) for attempt in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert Backoff(lambda: 0.0).pause(5) == 0


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("17", 17),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(field: str | None, seconds: float | None) -> None:
    assert retry_after(field, now=lambda: 100.0) == seconds


def test_each_bucket_has_a_breaker_of_its_own_and_the_oldest_is_forgotten() -> None:
    breakers = CircuitBreakers(lambda: BucketBreaker(objects=1))
    breakers.of("a").failed("/cat.png")
    assert not breakers.of("a").allows_call("/dog.png")
    assert breakers.of("b").allows_call("/dog.png")
    for number in range(1024):
        breakers.of(f"another-{number}")
    assert breakers.of("a").allows_call("/dog.png")
