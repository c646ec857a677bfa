"""Waits of one length, bounded by one timer."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from gateway.concurrency.shared_timeout import SharedTimeout

SECONDS = 0.1


async def outcome(shared_timeout: SharedTimeout, work: Callable[[], Awaitable[object]]) -> str:
    """What becomes of a bounded wait."""
    try:
        with shared_timeout.limit():
            await work()
    except TimeoutError:
        return "timed out"
    except ConnectionError:
        return "failed"
    return "done"


def never() -> Awaitable[object]:
    """Waits for ever."""
    return asyncio.get_running_loop().create_future()


async def at_once() -> None:
    """Ends without waiting."""


async def test_a_wait_that_lasts_too_long_is_a_time_out_and_not_before() -> None:
    shared_timeout = SharedTimeout(SECONDS)
    began = time.monotonic()
    assert await outcome(shared_timeout, never) == "timed out"
    assert SECONDS <= time.monotonic() - began < 10 * SECONDS
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task was not cancelled for good"
    assert not shared_timeout.waits


async def test_a_wait_that_ends_is_left_alone_and_the_next_has_all_its_time() -> None:
    shared_timeout = SharedTimeout(SECONDS)
    assert await outcome(shared_timeout, at_once) == "done"
    await asyncio.sleep(SECONDS * 0.7)  # the timer of the first still stands
    began = time.monotonic()
    assert await outcome(shared_timeout, never) == "timed out"
    assert time.monotonic() - began >= SECONDS


async def test_each_of_many_waits_runs_out_in_its_turn() -> None:
    shared_timeout = SharedTimeout(SECONDS)
    ended: list[int] = []

    async def wait(number: int) -> None:
        assert await outcome(shared_timeout, at_once if number == 2 else never) == (
            "done" if number == 2 else "timed out"
        )
        ended.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(wait(number), name=f"wait-{number}")
            await asyncio.sleep(SECONDS / 10)
    assert ended == [2, 0, 1, 3, 4]
    assert await outcome(shared_timeout, never) == "timed out", "and it goes on"


async def test_a_failure_of_the_work_is_its_own() -> None:
    async def fails() -> None:
        raise ConnectionResetError

    shared_timeout = SharedTimeout(SECONDS)
    assert await outcome(shared_timeout, fails) == "failed"
    assert not shared_timeout.waits


async def test_a_task_that_somebody_cancels_is_cancelled() -> None:
    shared_timeout = SharedTimeout(60)
    task = asyncio.create_task(outcome(shared_timeout, never), name="waiting")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not shared_timeout.waits


async def test_cancelling_outranks_a_time_out_at_the_same_moment() -> None:
    shared_timeout = SharedTimeout(60)
    task = asyncio.create_task(outcome(shared_timeout, never), name="waiting")
    await asyncio.sleep(0)
    (wait,) = shared_timeout.waits
    del shared_timeout.waits[wait]
    wait.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_ends_in_the_moment_of_the_time_out_is_one() -> None:
    shared_timeout = SharedTimeout(60)
    moment: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(outcome(shared_timeout, lambda: moment), name="waiting")
    await asyncio.sleep(0)
    (wait,) = shared_timeout.waits
    moment.set_result(None)
    del shared_timeout.waits[wait]
    wait.expire()
    assert await task == "timed out"
    assert task.cancelling() == 0
