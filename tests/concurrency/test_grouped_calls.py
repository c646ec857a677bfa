"""Grouped calls: one piece of work for those that arrive together, and no wait for one that comes alone."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from gateway.concurrency.grouped_calls import GroupedCalls
from gateway.service.metrics import Metrics
from tests.waiting import until

LONG = 60.0  # seconds that no test lasts


class Work:
    """Work that waits until it is released; ``groups`` are the keys of each run, ``failures`` what keys get.

    ``broken`` fails the first run as a whole; ``at_end`` is scheduled just before a run ends.
    """

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.released = asyncio.Event()
        self.failures: dict[str, Exception] = {}
        self.broken: Exception | None = None
        self.forgets: set[str] = set()
        self.at_end: Callable[[], object] = lambda: None

    async def __call__(self, keys: Sequence[str]) -> Mapping[str, str | Exception]:
        run = len(self.groups)
        self.groups.append(list(keys))
        await self.released.wait()
        asyncio.get_running_loop().call_soon(self.at_end)
        if self.broken is not None and run == 0:
            raise self.broken
        return {key: self.failures.get(key, f"{key}{run}") for key in keys if key not in self.forgets}


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
async def calls(work: Work, metrics: Metrics) -> AsyncIterator[GroupedCalls[str, str]]:
    """Groups of three keys at most, which hold back the next one until they end."""
    grouped: GroupedCalls[str, str] = GroupedCalls(
        "test", work, metrics.registry.coalesced_requests, most_keys=3, hold=LONG
    )
    yield grouped
    await grouped.close()


async def started(*awaitables: "asyncio.Task[str]") -> None:
    """Let tasks run until they wait."""
    del awaitables
    for _ in range(3):
        await asyncio.sleep(0)


def call(calls: GroupedCalls[str, str], key: str) -> "asyncio.Task[str]":
    return asyncio.create_task(calls.run(key))


async def test_one_that_comes_alone_starts_at_once_and_those_that_arrive_meanwhile_are_the_next_group(
    calls: GroupedCalls[str, str], work: Work
) -> None:
    tasks = [call(calls, "a")]
    await started()  # turns of the loop, and no time
    for key in "bcd":
        tasks.append(call(calls, key))
        await started()
    assert work.groups == [["a"]]
    work.released.set()
    assert await asyncio.gather(*tasks) == ["a0", "b1", "c1", "d1"]
    assert work.groups == [["a"], ["b", "c", "d"]]


async def test_a_group_is_bounded_and_the_rest_is_the_next_one(calls: GroupedCalls[str, str], work: Work) -> None:
    work.released.set()
    assert await calls.run_many("abcdefg") == {
        "a": "a0", "b": "b0", "c": "c0", "d": "d1", "e": "e1", "f": "f1", "g": "g2",
    }  # fmt: skip
    assert work.groups == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


async def test_a_group_that_lasts_does_not_hold_back_the_next_one(work: Work, metrics: Metrics) -> None:
    calls: GroupedCalls[str, str] = GroupedCalls("test", work, metrics.registry.coalesced_requests, hold=0.001)
    tasks = []
    for number, key in enumerate("abc", 1):
        tasks.append(call(calls, key))
        await until(lambda number=number: len(work.groups) == number)  # type: ignore[misc]
    work.released.set()
    assert await asyncio.gather(*tasks) == ["a0", "b1", "c2"]


async def test_a_key_that_waits_or_is_under_way_is_joined(
    calls: GroupedCalls[str, str], work: Work, metrics: Metrics
) -> None:
    tasks = [call(calls, "a")]
    await started()
    tasks += [call(calls, key) for key in "aabb"]
    await started()
    work.released.set()
    assert await asyncio.gather(*tasks) == ["a0", "a0", "a0", "b1", "b1"]
    assert metrics.registry.get_sample_value("image_gateway_coalesced_requests_total") == 3
    assert await calls.run("a") == "a2", "a result is not cached"


async def test_an_error_or_no_result_reaches_the_callers_of_the_key_alone(
    calls: GroupedCalls[str, str], work: Work
) -> None:
    work.failures["b"] = KeyError("b")
    work.released.set()
    results = await asyncio.gather(*(calls.run(key) for key in "abbc"), return_exceptions=True)
    assert results == ["a0", work.failures["b"], work.failures["b"], "c0"]
    work.forgets = {"c"}
    many = await calls.run_many("abc")
    assert (many["a"], many["b"], type(many["c"])) == ("a1", work.failures["b"], LookupError)


async def test_work_that_fails_fails_its_group_and_no_other(calls: GroupedCalls[str, str], work: Work) -> None:
    work.broken = RuntimeError("broken")
    first = [call(calls, key) for key in "abc"]
    await started()
    later = call(calls, "d")
    await started()
    work.released.set()
    assert await asyncio.gather(*first, return_exceptions=True) == [work.broken] * 3
    assert await later == "d1"


async def test_a_cancelled_caller_changes_nothing_for_the_others(calls: GroupedCalls[str, str], work: Work) -> None:
    first, second, other = call(calls, "a"), call(calls, "a"), call(calls, "b")
    await started()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    work.released.set()
    assert list(await asyncio.gather(second, other)) == ["a0", "b0"]
    assert first.cancelled()


@pytest.mark.parametrize("keys", ["b", "bcd"])
async def test_the_keys_that_all_callers_have_left_are_dropped_before_they_start(
    calls: GroupedCalls[str, str], work: Work, keys: str
) -> None:
    first = call(calls, "a")
    await started()
    leaver, stayer = asyncio.create_task(calls.run_many(keys)), call(calls, "c")
    await started()
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    assert leaver.cancelled()
    work.released.set()
    assert list(await asyncio.gather(first, stayer)) == ["a0", "c1"]
    assert work.groups == [["a"], ["c"]]


async def test_all_callers_of_a_group_may_leave(
    calls: GroupedCalls[str, str], work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    work.failures["a"] = KeyError("a")
    alone = call(calls, "a")
    await started()
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    work.released.set()
    assert await calls.run("b") == "b1"
    del alone
    gc.collect()
    assert caplog.text == ""


async def test_an_error_whose_caller_is_cancelled_at_that_moment_is_not_logged(
    calls: GroupedCalls[str, str], work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    work.failures["a"] = KeyError("a")
    alone = call(calls, "a")
    await started()
    work.at_end = alone.cancel  # runs when the error is set, and before the caller is
    work.released.set()
    await asyncio.gather(alone, return_exceptions=True)
    assert alone.cancelled()
    del alone
    gc.collect()
    assert caplog.text == ""


async def test_a_detached_key_is_looked_up_again_and_its_present_callers_get_their_result(
    calls: GroupedCalls[str, str], work: Work
) -> None:
    early = [call(calls, key) for key in "ab"]
    await started()
    calls.detach(lambda key: key == "a")
    late = [call(calls, key) for key in "ab"]
    await started()
    work.released.set()
    assert await asyncio.gather(*early, *late) == ["a0", "b0", "a1", "b0"]
    assert work.groups == [["a", "b"], ["a"]]


async def test_the_end_of_a_detached_key_leaves_the_later_one(work: Work, metrics: Metrics) -> None:
    calls: GroupedCalls[str, str] = GroupedCalls("test", work, metrics.registry.coalesced_requests, hold=0.001)
    early = call(calls, "a")
    await until(lambda: work.groups)
    calls.detach()
    first_release, work.released = work.released, asyncio.Event()
    late = call(calls, "a")
    await until(lambda: len(work.groups) == 2)
    first_release.set()
    assert await early == "a0"
    joined = call(calls, "a")
    await started()
    work.released.set()
    assert list(await asyncio.gather(late, joined)) == ["a1", "a1"]


async def test_close_cancels_those_under_way_and_those_that_wait(calls: GroupedCalls[str, str]) -> None:
    many = asyncio.create_task(calls.run_many("abcd"))
    await started()
    late = call(calls, "e")
    await started()
    await calls.close()
    await asyncio.gather(many, late, return_exceptions=True)
    assert (many.cancelled(), late.cancelled()) == (True, True)


async def test_a_part_that_is_slow_holds_up_its_own_keys_alone(work: Work) -> None:
    calls: GroupedCalls[str, str] = GroupedCalls("test", work, part_of=lambda key: key[0], hold=LONG)
    first = call(calls, "a1")
    await started(first)
    later, other = call(calls, "a2"), asyncio.create_task(calls.run_many(["a3", "b1"]))
    await started(later)
    assert work.groups == [["a1"], ["b1"]], "the other keys of the first part wait"
    work.released.set()
    assert (await first, await later) == ("a10", "a22")
    assert await other == {"a3": "a32", "b1": "b11"}
    assert work.groups == [["a1"], ["b1"], ["a2", "a3"]]
    await calls.close()
