"""Blocking work in a thread that does not keep the process."""

import asyncio
import sys
import threading

import pytest

from gateway.concurrency.daemon_thread import in_daemon_thread
from tests.processes import START_TIMEOUT

HANGS = """
import asyncio, contextlib, threading
from gateway.concurrency.daemon_thread import in_daemon_thread

async def main():
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await in_daemon_thread(threading.Event().wait, "hangs")

asyncio.run(main())
"""


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
