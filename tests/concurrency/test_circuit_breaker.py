"""What has just failed repeatedly is not waited for."""

from gateway.concurrency.circuit_breaker import CircuitBreaker


def test_it_opens_after_failures_in_a_row_and_closes_with_a_success() -> None:
    breaker = CircuitBreaker(failures=3)
    for _ in range(2):
        breaker.failed()
    assert (breaker.has_failures, breaker.is_open) == (True, False)
    breaker.succeeded()
    assert (breaker.has_failures, breaker.is_open) == (False, False)
    for _ in range(3):
        assert not breaker.is_open
        breaker.failed()
    assert breaker.is_open
    breaker.succeeded()
    assert (breaker.has_failures, breaker.is_open) == (False, False)


def test_a_call_that_took_its_whole_time_opens_it_at_once() -> None:
    breaker = CircuitBreaker(failures=3)
    breaker.failed(at_once=True)
    assert breaker.is_open
