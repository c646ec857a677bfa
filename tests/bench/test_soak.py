"""The judge of the soak: when a failure is excused, and what counts as a leak."""

import asyncio
from pathlib import Path

import pytest

from bench.soak.faults import SETTLING, Schedule
from bench.soak.load import CHANGE_TIMEOUT, Change, shown_to
from bench.soak.stack import Replica
from bench.soak.watch import Watch


def watch_of(samples: list[tuple[int, int]]) -> Watch:
    """Return a watch that has seen these resident bytes and open files, in turn."""
    seen = [(float(second), memory, files) for second, (memory, files) in enumerate(samples)]
    return Watch(Replica("gateway", Path(), "", "", Path()), Schedule(), seen)


def test_a_failure_is_excused_until_the_effects_of_a_fault_are_over() -> None:
    schedule = Schedule([("COS hangs", 100.0, 105.0)])
    assert not schedule.during(90.0, 99.0)
    assert schedule.during(99.0, 101.0)
    assert schedule.during(105.0 + SETTLING, 200.0)
    assert not schedule.during(106.0 + SETTLING, 200.0)
    assert schedule.said_at(125.0) == "20 s after 'COS hangs'"


def test_a_fault_that_has_not_ended_excuses_a_failure() -> None:
    assert Schedule([("COS hangs", 100.0, None)]).during(1000.0, 1001.0)


def test_a_failure_is_excused_while_the_machine_is_busy() -> None:
    schedule = Schedule(busy=[(100.0, 105.0)])
    assert schedule.was_busy(104.0, 110.0)
    assert schedule.during(104.0, 110.0)
    assert not schedule.during(106.0 + SETTLING, 200.0)


async def test_a_machine_with_a_high_load_is_busy() -> None:
    schedule = Schedule()
    watching = asyncio.create_task(schedule.watch_machine(lambda: [1e6]))
    while not schedule.busy:
        await asyncio.sleep(0.01)
    watching.cancel()
    assert len(schedule.busy) == 1


@pytest.mark.parametrize(
    ("early", "late", "growth"),
    [
        ((100, 50), (100, 50), (1.0, 1.0)),
        ((100, 50), (150, 50), (1.5, 1.0)),
        # Connections come and go: 90 files at most in both, but 80 stay.
        ((100, 50), (100, 80), (1.0, 1.6)),
    ],
)
def test_growth_is_that_of_what_stays(
    early: tuple[int, int], late: tuple[int, int], growth: tuple[float, float]
) -> None:
    samples = [(500, 200)] * 5 + [early, (early[0], 90), early, early, early] + [early] * 10
    samples += [late, (late[0], 90), late, late, late]
    assert watch_of(samples).growth() == growth


@pytest.mark.parametrize(
    ("history", "shown"),
    [
        ([], {False}),
        ([Change(to_other=True, done_at=100.0 - CHANGE_TIMEOUT - 1)], {True}),
        ([Change(to_other=True, done_at=100.0 - CHANGE_TIMEOUT + 1)], {False, True}),
        # However long ago it began: Postgres may not have made it yet.
        ([Change(to_other=True)], {False, True}),
        ([Change(to_other=True, done_at=10.0), Change(to_other=False, done_at=20.0)], {False}),
        ([Change(to_other=True, done_at=10.0), Change(to_other=False)], {False, True}),
    ],
)
def test_a_changed_image_may_be_the_earlier_one_until_shortly_after_postgres_has_confirmed_the_change(
    history: list[Change], shown: set[bool]
) -> None:
    assert shown_to(100.0, history) == shown
