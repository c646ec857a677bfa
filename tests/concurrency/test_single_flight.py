"""One miss, one piece of work."""

import asyncio

import pytest

from gateway.concurrency.single_flight import SingleFlight
from gateway.metrics.collectors import Metrics


class Work:
    """Something that takes until it is released, and counts how often it ran."""

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
def flight(metrics: Metrics) -> SingleFlight[str, int]:
    return SingleFlight("test", metrics.coalesced_requests)


async def test_callers_share_one_run(flight: SingleFlight[str, int], metrics: Metrics) -> None:
    work = Work()
    callers = [asyncio.create_task(flight.run("a", work)) for _ in range(100)]
    await asyncio.sleep(0)
    work.released.set()
    assert await asyncio.gather(*callers) == [1] * 100
    assert metrics.registry.get_sample_value("image_gateway_coalesced_requests_total") == 99
    assert await flight.run("a", work) == 2


async def test_a_caller_that_leaves_harms_nobody(flight: SingleFlight[str, int]) -> None:
    """The first one included: cshum/imagor's lesson."""
    work = Work()
    first = asyncio.create_task(flight.run("a", work))
    await asyncio.sleep(0)
    second = asyncio.create_task(flight.run("a", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.released.set()
    assert await second == 1


async def test_a_failure_reaches_every_caller_and_is_not_kept(flight: SingleFlight[str, int]) -> None:
    work = Work()
    work.failure = LookupError("nothing")
    work.released.set()
    for result in await asyncio.gather(*(flight.run("a", work) for _ in range(3)), return_exceptions=True):
        assert isinstance(result, LookupError)
    work.failure = None
    assert await flight.run("a", work) == 2


async def test_an_error_that_nobody_waits_for_is_no_warning(flight: SingleFlight[str, int]) -> None:
    work = Work()
    work.failure = LookupError("nothing")
    caller = asyncio.create_task(flight.run("a", work))
    await asyncio.sleep(0)
    caller.cancel()
    work.released.set()
    await asyncio.gather(caller, return_exceptions=True)
    await flight.close()


async def test_closing_cancels_what_is_under_way(flight: SingleFlight[str, int]) -> None:
    caller = asyncio.create_task(flight.run("a", Work()))
    await asyncio.sleep(0)
    await flight.close()
    with pytest.raises(asyncio.CancelledError):
        await caller


class TestForCallersAlone:
    """What nobody waits for any more is given up."""

    @pytest.fixture
    def flight(self, metrics: Metrics) -> SingleFlight[str, int]:
        return SingleFlight("test", metrics.coalesced_requests, cancel_without_callers=True)

    async def test_the_last_to_leave_ends_it(self, flight: SingleFlight[str, int]) -> None:
        work = Work()
        callers = [asyncio.create_task(flight.run("a", work)) for _ in range(2)]
        await asyncio.sleep(0)
        task = flight.start("a", work)
        callers[0].cancel()
        await asyncio.gather(callers[0], return_exceptions=True)
        assert not task.cancelling()
        callers[1].cancel()
        await asyncio.gather(callers[1], task, return_exceptions=True)
        assert task.cancelled()

    async def test_a_newcomer_does_not_join_what_is_being_given_up(self, flight: SingleFlight[str, int]) -> None:
        work = Work()
        first = asyncio.create_task(flight.run("a", work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(flight) == 0
        work.released.set()
        assert await flight.run("a", work) == 2

    async def test_a_result_outlives_nobody_and_harms_nobody(self, flight: SingleFlight[str, int]) -> None:
        work = Work()
        work.released.set()
        assert await flight.run("a", work) == 1
        assert len(flight) == 0
        await flight.close()
