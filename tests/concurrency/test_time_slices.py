"""Long work leaves the event loop to others."""

import asyncio

from gateway.concurrency.time_limits import TimeSlices, in_groups
from tests.tier import Clock


async def test_others_run_once_the_work_has_taken_a_millisecond() -> None:
    clock = Clock()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others(), name="others")
    slices = TimeSlices(clock)
    for _ in range(10):
        clock.now += 0.0006
        await slices.pause()
    task.cancel()
    assert turns == 5, "two steps of 0.6 ms are one slice"


def test_groups_keep_the_order_and_the_rest() -> None:
    assert list(in_groups([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(in_groups([], 2)) == []
