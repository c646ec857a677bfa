"""Background tasks, the wait for the first of several events, and threads that do not keep the process."""

import asyncio
import logging
import sys
import threading
import time

import pytest

from gateway.concurrency.background import background, first_of, in_daemon_thread
from tests.limits import LIMIT
from tests.processes import START_TIMEOUT

HANGS = """
import asyncio, contextlib, threading
from gateway.concurrency.background import in_daemon_thread

async def main():
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await in_daemon_thread(threading.Event().wait, "hangs")

asyncio.run(main())
"""


async def fail() -> None:
    raise LookupError("unexpected")


async def wait_forever() -> None:
    await asyncio.Event().wait()


async def test_a_failed_task_is_logged_at_once_and_once(caplog: pytest.LogCaptureFixture) -> None:
    async with background("listener", fail()) as task:
        await asyncio.wait({task})
        (record,) = caplog.records
        assert (record.levelno, record.message) == (logging.ERROR, "background task failed: name=listener")
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], LookupError)
    assert len(caplog.records) == 1


async def test_a_cancelled_or_finished_task_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with background("endless", wait_forever()) as endless, background("short", asyncio.sleep(0)) as short:
        await asyncio.wait({short})
    assert endless.cancelled()
    assert not caplog.records


async def test_a_task_that_loses_its_cancellation_is_cancelled_again_and_its_failure_then_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cancellations = 0

    async def stubborn() -> None:
        nonlocal cancellations
        while cancellations < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1
        await fail()

    async with background("stubborn", stubborn()) as task:
        await asyncio.sleep(0)
    assert task.done()
    assert cancellations == 2
    assert [record.message for record in caplog.records] == ["background task failed: name=stubborn"]


async def test_the_first_event_ends_the_wait_or_its_time_out() -> None:
    events = [asyncio.Event() for _ in range(3)]
    waiting = asyncio.create_task(first_of(*events))
    await asyncio.sleep(0)
    assert not waiting.done()
    events[1].set()
    async with asyncio.timeout(LIMIT):
        await waiting
        began = time.monotonic()
        await first_of(events[0], timeout=0.1)
    assert time.monotonic() - began > 0.09


async def test_no_task_is_left_after_a_cancellation() -> None:
    others = asyncio.all_tasks()
    waiting = asyncio.create_task(first_of(asyncio.Event(), asyncio.Event()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == others


async def test_the_result_and_the_error_are_those_of_the_work() -> None:
    assert await in_daemon_thread(threading.current_thread, "its-name") is not threading.current_thread()
    assert (await in_daemon_thread(lambda: threading.current_thread().name, "its-name")) == "its-name"
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0, "fails")


async def test_work_whose_future_was_cancelled_ends_silently() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        go.wait()
        ended.set()

    future = in_daemon_thread(work, "cancelled")
    future.cancel()
    go.set()
    await asyncio.to_thread(ended.wait, START_TIMEOUT)
    assert ended.is_set()
    assert await in_daemon_thread(lambda: 1, "after-it") == 1


async def test_a_process_ends_while_such_work_hangs() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HANGS)
    try:
        async with asyncio.timeout(START_TIMEOUT):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
