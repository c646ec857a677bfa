"""Wait for the first of several events."""

import asyncio
import time

import pytest

from gateway.concurrency.first_event import first_of
from tests.limits import LIMIT


async def test_the_first_event_ends_the_wait() -> None:
    events = [asyncio.Event() for _ in range(3)]
    waiting = asyncio.create_task(first_of(*events))
    await asyncio.sleep(0)
    assert not waiting.done()
    events[1].set()
    async with asyncio.timeout(LIMIT):
        await waiting


async def test_the_wait_ends_after_its_time_out_and_not_before() -> None:
    began = time.monotonic()
    async with asyncio.timeout(LIMIT):
        await first_of(asyncio.Event(), timeout=0.1)
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
