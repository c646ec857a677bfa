"""Single-single_flight: concurrent callers with the same key share one run."""

import asyncio

import pytest

from gateway.concurrency.single_flight import SingleFlight
from gateway.metrics.collectors import Metrics


class Work:
    """Work that waits until it is released, and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.released = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        await self.released.wait()
        if self.failure is not None:
            raise self.failure
        return self.runs


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def single_flight(metrics: Metrics) -> SingleFlight[str, int]:
    return SingleFlight("test", metrics.coalesced_requests)


async def test_concurrent_callers_share_one_run(single_flight: SingleFlight[str, int], metrics: Metrics) -> None:
    work = Work()
    callers = [asyncio.create_task(single_flight.run("a", work)) for _ in range(100)]
    await asyncio.sleep(0)
    work.released.set()
    assert await asyncio.gather(*callers) == [1] * 100
    assert metrics.registry.get_sample_value("image_gateway_coalesced_requests_total") == 99
    assert await single_flight.run("a", work) == 2


async def test_a_cancelled_caller_does_not_cancel_the_run_for_others(single_flight: SingleFlight[str, int]) -> None:
    """Not even the first caller (cshum/imagor)."""
    work = Work()
    first = asyncio.create_task(single_flight.run("a", work))
    await asyncio.sleep(0)
    second = asyncio.create_task(single_flight.run("a", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.released.set()
    assert await second == 1


async def test_an_exception_reaches_every_caller_and_is_not_cached(single_flight: SingleFlight[str, int]) -> None:
    work = Work()
    work.failure = LookupError("nothing")
    work.released.set()
    for result in await asyncio.gather(*(single_flight.run("a", work) for _ in range(3)), return_exceptions=True):
        assert isinstance(result, LookupError)
    work.failure = None
    assert await single_flight.run("a", work) == 2


async def test_an_exception_without_callers_causes_no_warning(single_flight: SingleFlight[str, int]) -> None:
    work = Work()
    work.failure = LookupError("nothing")
    caller = asyncio.create_task(single_flight.run("a", work))
    await asyncio.sleep(0)
    caller.cancel()
    work.released.set()
    await asyncio.gather(caller, return_exceptions=True)
    await single_flight.close()


async def test_close_cancels_running_calls(single_flight: SingleFlight[str, int]) -> None:
    caller = asyncio.create_task(single_flight.run("a", Work()))
    await asyncio.sleep(0)
    await single_flight.close()
    with pytest.raises(asyncio.CancelledError):
        await caller


class TestCancelWithoutCallers:
    """A run without callers is cancelled."""

    @pytest.fixture
    def single_flight(self, metrics: Metrics) -> SingleFlight[str, int]:
        return SingleFlight("test", metrics.coalesced_requests, cancel_without_callers=True)

    async def test_cancelling_the_last_caller_cancels_the_run(self, single_flight: SingleFlight[str, int]) -> None:
        work = Work()
        callers = [asyncio.create_task(single_flight.run("a", work)) for _ in range(2)]
        await asyncio.sleep(0)
        task = single_flight.start("a", work)
        callers[0].cancel()
        await asyncio.gather(callers[0], return_exceptions=True)
        assert not task.cancelling()
        callers[1].cancel()
        await asyncio.gather(callers[1], task, return_exceptions=True)
        assert task.cancelled()

    async def test_a_new_caller_does_not_join_a_cancelled_run(self, single_flight: SingleFlight[str, int]) -> None:
        work = Work()
        first = asyncio.create_task(single_flight.run("a", work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(single_flight) == 0
        work.released.set()
        assert await single_flight.run("a", work) == 2

    async def test_a_finished_run_leaves_no_entry(self, single_flight: SingleFlight[str, int]) -> None:
        work = Work()
        work.released.set()
        assert await single_flight.run("a", work) == 1
        assert len(single_flight) == 0
        await single_flight.close()
