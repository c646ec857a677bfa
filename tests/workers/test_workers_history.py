"""The charts and the latest errors of all workers, and what the parent adds to the console of one."""

import json
import signal
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from gateway.workers.worker import Worker
from gateway.workers.worker_calls import Answer
from gateway.workers.workers_history import Totals, WorkersHistory
from tests.serving import serving
from tests.waiting import until
from tests.workers.conftest import STARTED, fake_workers, get_json, get_text, kill

CONSOLE = "/api/v1/monitoring/console"
FAILS = {"name": "requests_fail", "level": "bad", "values": {"failed": 3}, "since": 50, "replicas": ["other"]}


def answer(**changes: Any) -> str:
    """Return the answer of a worker."""
    reloaded = {"name": "reloaded", "at": 9, "values": {"keys": "-"}, "replica": "other"}
    late = {"name": "renewals_late", "level": "warning", "values": {"seconds": 90}, "since": 60, "replicas": ["w1"]}
    data = {"status": "ready", "symptoms": [FAILS, late], "events": [reloaded], "points": {"fine": []}, "errors": []}
    return json.dumps({"status": "success", "message": "", "data": data | changes})


async def test_a_worker_that_does_not_answer_and_workers_that_end_are_problems_with_the_time_since_when() -> None:
    started = time.time()
    async with fake_workers([answer()] * 2, []) as (supervisor, admin), serving(admin.app()) as address:
        shown = (await get_json(f"{address}{CONSOLE}"))["data"]
        assert [symptom["name"] for symptom in shown["symptoms"]] == ["requests_fail", "renewals_late"]
        for _ in range(3):
            supervisor.events.add("worker_ended", worker=2, reason="signal SIGKILL")
        kill(supervisor.ready()[1].process.pid, signal.SIGSTOP)
        await until(lambda: len(supervisor.answering()) == 1, seconds=STARTED)
        shown = (await get_json(f"{address}{CONSOLE}"))["data"]
    worst, missing, ends, _ = shown["symptoms"]
    assert worst == FAILS
    assert (missing["name"], missing["values"]) == ("workers_missing", {"ready": 1, "configured": 2})
    assert (ends["name"], ends["values"]) == ("workers_end", {"count": 3})
    assert started < missing["since"] < time.time()
    own = ("worker_ended", None)
    assert [(event["name"], event.get("replica")) for event in shown["events"]] == [("reloaded", "other"), *[own] * 3]


async def test_a_worker_whose_event_loop_was_stuck_is_found_by_readiness_metrics_and_console() -> None:
    ready = json.dumps({"status": "ready", "checks": {}})
    async with (
        fake_workers([ready, "", answer()], life="stuck") as (supervisor, admin),
        serving(admin.app()) as address,
    ):
        await supervisor.reload()
        await until(lambda: supervisor.restarts and supervisor.ready(), seconds=STARTED)
        (found,) = (await get_json(f"{address}/readyz"))["findings"]
        assert (found["finding"], found["what"][-18:]) == ("loop_stuck", "1 since the start.")
        assert 'finding="loop_stuck",level="warning"' in await get_text(f"{address}/metrics")
        _, stuck, _ = (await get_json(f"{address}{CONSOLE}"))["data"]["symptoms"]
        assert (stuck["name"], stuck["values"]) == ("loop_stuck", {"count": 1})


@pytest.mark.parametrize(
    "text", ['{"other": 1}', "[]", "<html>", answer(symptoms=[{}]), answer(events=7), answer(events=[{"name": "-"}])]
)
async def test_the_console_of_another_version_is_shown_as_the_worker_answers(text: str) -> None:
    async with fake_workers([text]) as (supervisor, admin), serving(admin.app()) as address:
        (worker,) = supervisor.ready()
        admin.history.read(worker, totals({"status 200": 1}))
        async with aiohttp.ClientSession() as session, session.get(f"{address}{CONSOLE}") as response:
            assert (response.status, await response.text()) == (200, text)


def totals(counts: dict[str, int], durations: Sequence[int] = (0, 0, 0), **changes: Any) -> Totals:
    """Return the totals in the answer of a worker."""
    data = {"counts": counts, "durations": durations, "bounds": [0.1, 1.0], "errors": [], **changes}
    found = Answer(200, {}, json.dumps({"status": "success", "data": data}).encode()).data(Totals)
    assert found is not None
    return found


def error(count: int, at: float, image_id: str, code: str = "image_not_found") -> dict[str, Any]:
    return {"code": code, "count": count, "at": at, "image_id": image_id}


async def two_workers() -> tuple[Worker, Worker]:
    """Two workers, which have ended: their history stays."""
    async with fake_workers([], []) as (supervisor, _):
        first, second = supervisor.ready()
    return first, second


async def test_a_point_has_what_all_workers_did_and_a_worker_that_takes_the_place_of_another_makes_no_step() -> None:
    history, (first, second) = WorkersHistory(100), await two_workers()
    history.record(101)
    assert history.shown(0) == {}, "no worker was asked yet"
    history.read(first, totals({"status 200": 3}, (3, 0, 0)))
    history.read(second, totals({"status 200": 4, "status 404": 1}, (0, 5, 0)))
    history.record(105)
    (point,) = history.shown(0)["points"]["fine"]
    assert (point["at"], point["span"], point["counts"]) == (105, 5, {"status 200": 7, "status 404": 1})
    assert point["quantiles"] == pytest.approx((0.28, 0.928, 0.9856))
    history.read(first, totals({"status 200": 4}, (4, 0, 0)))
    history.read(first, totals({"status 200": 9}, (9, 0, 0), bounds=[0.1, 2.0]))
    history.read(first, totals({"status 200": 9}, (1, 2)))
    (successor, _) = await two_workers()
    history.read(successor, totals({"status 200": 2}, (0, 0, 2)))
    history.record(110)
    history.record(115)
    points = history.shown(105)["points"]["fine"]
    assert [point["counts"] for point in points] == [{"status 200": 3}, {}], "other buckets are left out"


async def test_errors_are_summed_and_name_the_image_of_the_last_one() -> None:
    history, (first, second) = WorkersHistory(100), await two_workers()
    history.read(first, totals({}, errors=[error(3, 50, "a"), error(1, 70, "c", "origin_timeout")]))
    history.read(second, totals({}, errors=[error(2, 60, "b")]))
    history.read(first, totals({}, errors=[error(4, 55, "late"), error(1, 70, "c", "origin_timeout")]))
    assert history.shown(0)["errors"] == [error(1, 70, "c", "origin_timeout"), error(6, 60, "b")]
