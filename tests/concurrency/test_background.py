"""Tasks beside the requests: they end with what needs them, and one that dies is told when it does."""

import asyncio
import logging

import pytest

from gateway.concurrency.background import background


async def fail() -> None:
    raise LookupError("nobody foresaw it")


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_dies_is_told_at_once_and_once(caplog: pytest.LogCaptureFixture) -> None:
    async with background("ear", fail()) as task:
        await asyncio.wait({task})
        (told,) = caplog.records
        assert (told.levelno, told.message) == (logging.ERROR, "background task failed: name=ear")
        assert told.exc_info is not None
        assert isinstance(told.exc_info[1], LookupError)
    assert len(caplog.records) == 1


async def test_a_task_that_is_stopped_or_done_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async with background("endless", wait_for_ever()) as endless, background("short", asyncio.sleep(0)) as short:
        await asyncio.wait({short})
    assert endless.cancelled()
    assert not caplog.records


async def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    cancellations = 0

    async def stubborn() -> None:
        nonlocal cancellations
        while cancellations < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    async with background("stubborn", stubborn()) as task:
        await asyncio.sleep(0)
    assert task.done()
    assert cancellations == 2


async def test_one_that_dies_as_it_is_stopped_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await fail()

    async with background("clumsy", clumsy()):
        await asyncio.sleep(0)
    assert [record.message for record in caplog.records] == ["background task failed: name=clumsy"]
