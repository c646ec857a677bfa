"""What has just failed repeatedly is not waited for."""

from gateway.concurrency.circuit_breaker import CircuitBreaker
from tests.tier import Clock


def test_it_opens_after_failures_in_a_row_and_lets_one_try_a_pause() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=3, pause=1, monotonic=clock)
    for _ in range(2):
        breaker.failed()
    assert (breaker.has_failures, breaker.is_open) == (True, False)
    breaker.succeeded()
    assert (breaker.has_failures, breaker.is_open) == (False, False)
    for _ in range(3):
        assert breaker.allows_call()
        breaker.failed()
    assert breaker.is_open
    assert not breaker.allows_call()
    clock.now += 1
    assert breaker.allows_call()
    assert not breaker.allows_call()
    breaker.succeeded()
    assert (breaker.has_failures, breaker.is_open) == (False, False)
    assert breaker.allows_call()
    assert breaker.allows_call()


def test_a_call_that_took_its_whole_time_opens_it_at_once() -> None:
    breaker = CircuitBreaker(failures=3, pause=1, monotonic=Clock())
    breaker.failed(at_once=True)
    assert breaker.is_open
