"""The time of a denial: the same for every image."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.denial_delay import DenialDelay

STEP = 0.025


class Clock:
    """A clock that stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def left_after(delay: DenialDelay, clock: Clock, seconds: float) -> float:
    """When the answer leaves, in seconds after the request began, if its work took so many."""
    started = clock.time
    clock.time += seconds
    return round(clock.time + delay.seconds_left(started) - started, 6)


def test_quick_denials_leave_at_the_same_time() -> None:
    clock = Clock()
    delay = DenialDelay(clock, jitter=float)
    assert {left_after(delay, clock, seconds) for seconds in (0.0001, 0.003, 0.024)} == {STEP}


def test_while_the_stores_are_slow_every_denial_is() -> None:
    clock = Clock()
    delay = DenialDelay(clock, jitter=float)
    assert left_after(delay, clock, 0.060) == 0.075
    assert left_after(delay, clock, 0.0001) == 0.075
    clock.time += 11
    assert left_after(delay, clock, 0.0001) == STEP


def test_one_very_slow_denial_does_not_slow_the_others_down_for_long() -> None:
    clock = Clock()
    delay = DenialDelay(clock, jitter=float)
    assert left_after(delay, clock, 3.01) == 3.025
    assert left_after(delay, clock, 0.0001) == 0.25


@given(st.lists(st.floats(0, 2), min_size=1, max_size=20))
def test_a_denial_is_never_held_for_longer_than_the_bound(works: list[float]) -> None:
    clock = Clock()
    delay = DenialDelay(clock, jitter=float)
    for work in works:
        leaves = left_after(delay, clock, work)
        assert work - 1e-6 <= leaves <= max(0.25, work + STEP) + 1e-6
