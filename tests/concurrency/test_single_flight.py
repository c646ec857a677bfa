"""Single flight: concurrent callers with the same key share one run."""

import asyncio
import gc

import pytest

from gateway.concurrency.single_flight import SingleFlight
from gateway.service.metrics import Metrics
from tests.waiting import until


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
def single_flight(metrics: Metrics) -> SingleFlight[str, int]:
    return SingleFlight("test", metrics.registry.coalesced_requests)


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


async def test_an_error_without_a_waiting_caller_is_not_reported_by_asyncio(
    single_flight: SingleFlight[str, int],
) -> None:
    """asyncio reports an exception that was never retrieved when it frees the task."""
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    work = Work()
    work.failure = LookupError("nothing")
    single_flight.start("a", work)
    await asyncio.sleep(0)
    work.released.set()
    await until(lambda: len(single_flight) == 0)
    gc.collect()
    assert reports == []


async def test_a_detached_call_is_not_joined_and_still_answers_its_callers(
    single_flight: SingleFlight[str, int],
) -> None:
    first, second = Work(), Work()
    early = asyncio.create_task(single_flight.run("a", first))
    other = asyncio.create_task(single_flight.run("b", first))
    await asyncio.sleep(0)
    single_flight.detach(lambda key: key == "a")
    assert len(single_flight) == 1
    late = asyncio.create_task(single_flight.run("a", second))
    await asyncio.sleep(0)
    first.released.set()
    assert await early == await other == 2, "both calls ran"
    assert len(single_flight) == 1, "the end of the detached call leaves the later one"
    second.released.set()
    assert await late == 1


@pytest.mark.parametrize("detached", [False, True])
async def test_closing_cancels_running_calls_and_waits_for_their_end(
    single_flight: SingleFlight[str, int], detached: bool
) -> None:
    has_ended = asyncio.Event()

    async def work() -> int:
        try:
            return await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            has_ended.set()

    caller = asyncio.create_task(single_flight.run("a", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if detached:
        single_flight.detach()
    await single_flight.close()
    assert has_ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        await caller


class TestCancelWithoutCallers:
    """A run without callers is cancelled."""

    @pytest.fixture
    def single_flight(self, metrics: Metrics) -> SingleFlight[str, int]:
        return SingleFlight("test", metrics.registry.coalesced_requests, cancel_without_callers=True)

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

    async def test_a_call_that_is_being_cancelled_is_not_joined(self, single_flight: SingleFlight[str, int]) -> None:
        """Its cleanup takes time, and a caller that arrives meanwhile starts a new call."""
        may_end, runs = asyncio.Event(), 0

        async def work() -> int:
            nonlocal runs
            runs += 1
            if runs > 1:
                return runs
            try:
                return await asyncio.Event().wait()
            finally:
                await may_end.wait()

        first = asyncio.create_task(single_flight.run("a", work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.create_task(single_flight.run("a", work))
        await asyncio.sleep(0)
        may_end.set()
        assert await second == 2
