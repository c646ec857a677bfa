"""Background tasks: cancelled at the end of their context, and logged at once if they fail."""

import asyncio
import logging

import pytest

from gateway.concurrency.background import background


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


async def test_a_task_that_fails_during_cancellation_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await fail()

    async with background("clumsy", clumsy()):
        await asyncio.sleep(0)
    assert [record.message for record in caplog.records] == ["background task failed: name=clumsy"]
