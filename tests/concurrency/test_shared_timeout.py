"""One timer shared by waits of equal length."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from gateway.concurrency.background import background
from gateway.concurrency.time_limits import SharedTimeout, loop_timeout

SECONDS = 0.1


async def outcome(shared_timeout: SharedTimeout, work: Callable[[], Awaitable[object]]) -> str:
    """Return the outcome of a wait with a timeout."""
    try:
        with shared_timeout.limit():
            await work()
    except TimeoutError:
        return "timed out"
    except ConnectionError:
        return "failed"
    return "done"


def never() -> Awaitable[object]:
    """Wait without end."""
    return asyncio.get_running_loop().create_future()


async def at_once() -> None:
    """Return without waiting."""


async def test_a_wait_times_out_after_its_seconds_and_not_earlier() -> None:
    shared_timeout = SharedTimeout(SECONDS)
    began = time.monotonic()
    assert await outcome(shared_timeout, never) == "timed out"
    assert SECONDS <= time.monotonic() - began < 100 * SECONDS
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task is not left cancelled"
    assert not shared_timeout.waits


async def test_a_finished_wait_never_times_out_and_the_next_has_its_full_time() -> None:
    shared_timeout = SharedTimeout(SECONDS)
    assert await outcome(shared_timeout, at_once) == "done"
    await asyncio.sleep(SECONDS * 0.7)  # the timer of the first still runs
    began = time.monotonic()
    assert await outcome(shared_timeout, never) == "timed out"
    assert time.monotonic() - began >= SECONDS


async def test_waits_time_out_in_the_order_in_which_they_began() -> None:
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
    assert [number for number in ended if number != 2] == [0, 1, 3, 4]
    assert await outcome(shared_timeout, never) == "timed out", "later waits still time out"


async def test_an_exception_of_the_body_and_a_cancellation_pass_through() -> None:
    async def fails() -> None:
        raise ConnectionResetError

    shared_timeout = SharedTimeout(60)
    assert await outcome(shared_timeout, fails) == "failed"
    task = asyncio.create_task(outcome(shared_timeout, never), name="waiting")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not shared_timeout.waits


async def test_a_cancellation_takes_precedence_over_a_simultaneous_timeout() -> None:
    shared_timeout = SharedTimeout(60)
    task = asyncio.create_task(outcome(shared_timeout, never), name="waiting")
    await asyncio.sleep(0)
    (wait,) = shared_timeout.waits
    del shared_timeout.waits[wait]
    wait.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wait_that_ends_as_it_expires_is_a_timeout() -> None:
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


def block_the_loop(seconds: float) -> None:
    """Keep the event loop busy, as many requests do that start at once."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        pass


async def test_a_wait_does_not_time_out_while_the_loop_is_late() -> None:
    answer = asyncio.get_running_loop().create_future()
    seconds = 10 * SECONDS  # so that other processes do not take the rest of ten times as long
    async with loop_timeout(seconds):
        for _ in range(2):
            block_the_loop(seconds)
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(answer.set_result, None)
        await answer


async def test_a_wait_for_nothing_times_out_on_a_loop_that_runs_on_time() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with loop_timeout(SECONDS):
            await never()
    assert SECONDS <= time.monotonic() - began < 100 * SECONDS
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_for_nothing_times_out_in_the_end_on_a_loop_that_is_always_late() -> None:
    seconds = 2 * SECONDS

    async def keep_the_loop_busy() -> None:
        while True:
            block_the_loop(seconds)
            await asyncio.sleep(0)

    began = time.monotonic()
    async with background("busy", keep_the_loop_busy()):
        with pytest.raises(TimeoutError):
            async with loop_timeout(seconds):
                await never()
    assert time.monotonic() - began < 50 * seconds, "a hundred turns of such a loop last twice as long"
