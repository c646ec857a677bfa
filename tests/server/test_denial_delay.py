"""Response times of denials that do not depend on the image."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.server.denial_delay import DenialDelay
from tests.tier import Clock

STEP = 0.025


def response_after(delay: DenialDelay, clock: Clock, seconds: float) -> float:
    """Return the seconds from the request to its response, for work of ``seconds``."""
    started = clock.now
    clock.now += seconds
    return round(clock.now + delay.seconds_left(started) - started, 6)


def test_fast_denials_take_the_same_time() -> None:
    clock = Clock(1000.0)
    delay = DenialDelay(clock, jitter=float)
    assert {response_after(delay, clock, seconds) for seconds in (0.0001, 0.003, 0.024)} == {STEP}


def test_while_the_stores_are_slow_every_denial_is_slow() -> None:
    clock, probed = Clock(1000.0), [0.0]
    delay = DenialDelay(clock, jitter=float, stores=lambda: probed[-1])
    assert response_after(delay, clock, 0.060) == 0.075
    assert response_after(delay, clock, 0.0001) == 0.075
    clock.now += 11
    assert response_after(delay, clock, 0.0001) == STEP
    for seconds, response_time in (0.060, 0.075), (2.0, 0.25), (0.001, STEP):  # also if no denial was slow lately
        probed.append(seconds)
        assert response_after(delay, clock, 0.0001) == response_time


def test_one_very_slow_denial_does_not_slow_the_others_down_for_long() -> None:
    clock = Clock(1000.0)
    delay = DenialDelay(clock, jitter=float)
    assert response_after(delay, clock, 3.01) == 3.025
    assert response_after(delay, clock, 0.0001) == 0.25


async def test_the_part_of_a_millisecond_does_not_show_how_long_the_work_took() -> None:
    """The event loop's timers run for whole milliseconds, beginning at the end of the work."""
    clock, turn = Clock(1000.0), 1e-6

    async def sleep(seconds: float) -> None:
        clock.now += math.ceil(seconds * 1000) / 1000 if seconds > 0 else turn

    delay = DenialDelay(clock, jitter=float, sleep=sleep)
    for work in 0.0002, 0.0004, 0.0006, 0.0008:
        started = clock.now
        clock.now += work
        await delay.hold(started)
        assert 0 <= clock.now - started - STEP < 2 * turn


@given(st.lists(st.floats(0, 2), min_size=1, max_size=20))
def test_a_denial_is_never_delayed_beyond_the_maximum(works: list[float]) -> None:
    clock = Clock(1000.0)
    delay = DenialDelay(clock, jitter=float)
    for work in works:
        response_time = response_after(delay, clock, work)
        assert work - 1e-6 <= response_time <= max(0.25, work + STEP) + 1e-6
