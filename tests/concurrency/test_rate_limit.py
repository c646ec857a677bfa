"""A limit on requests for each client."""

import pytest

from gateway.concurrency.rate_limit import RateLimit
from tests.tier import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def test_a_burst_passes_and_the_next_request_waits_for_one_token(clock: Clock) -> None:
    limit = RateLimit(2, 3, now=clock)
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 0]
    assert limit.wait("a") == pytest.approx(0.5)
    assert limit.wait("a") == pytest.approx(0.5), "a refused request uses no token"
    clock.now += 0.4
    assert limit.wait("a") == pytest.approx(0.1)
    clock.now += 0.1
    assert limit.wait("a") == pytest.approx(0)
    assert limit.wait("a") > 0


def test_no_request_of_a_long_burst_is_lost_to_rounding(clock: Clock) -> None:
    limit = RateLimit(5, 300, now=clock)
    assert [limit.wait("a") for _ in range(300)] == [0] * 300
    assert limit.wait("a") > 0


def test_a_bucket_holds_no_more_than_a_burst_and_is_that_of_one_client(clock: Clock) -> None:
    limit = RateLimit(2, 3, now=clock)
    limit.wait("a")
    clock.now += 3600
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 0]
    assert limit.wait("a") > 0
    assert limit.wait("b") == 0


def test_the_least_recently_seen_client_is_forgotten_first(clock: Clock) -> None:
    limit = RateLimit(1, 1, max_clients=2, now=clock)
    limit.wait("a")
    limit.wait("b")
    assert limit.wait("a") > 0, "seen again, after b"
    limit.wait("c")
    assert limit.wait("a") > 0, "still known"
    assert limit.wait("b") == 0, "forgotten"
