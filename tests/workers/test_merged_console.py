"""The console of all workers: problems, lights, replicas, and the points of all of them."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest

from gateway.findings.finding import Finding
from gateway.metrics.events import Event
from gateway.workers.merged_console import MergedTotals, Totals, WorkerState, events_of, merged_console
from gateway.workers.worker_calls import Answer
from tests.serving import serving
from tests.workers.conftest import fake_workers, get_json

CONSOLE = "/api/v1/monitoring/console"
FAILS = Finding("requests_fail", "bad", {"failed": 3, "requests": 4}, 50)


def row(name: str, *symptoms: Finding, at: float = 100) -> dict[str, Any]:
    return {"name": name, "at": at, "version": "1.2.3", "symptoms": [asdict(symptom) for symptom in symptoms]}


def answer(replica: str, *replicas: dict[str, Any], **changes: Any) -> str:
    """Return the answer of the worker ``replica``, which knows ``replicas``."""
    data = {
        "replica": replica,
        "replicas": [row(replica), *replicas] if replica not in {known["name"] for known in replicas} else [*replicas],
        "symptoms": ["of one"],
        "status": "ready",
        "dependencies": [{"name": "cos", "state": "ok", "seconds": 0.1, "reason": None}],
        "credentials": [{"source": "static", "buckets": ["b-1"], "state": "ok", "seconds_left": None, "reason": None}],
        "clock_difference": 0.5,
        "points": {"fine": [], "coarse": []},
        "errors": [],
        "renewals": None,
    }
    return json.dumps({"status": "success", "message": "", "data": data | changes})


def states(*answers: str) -> list[WorkerState]:
    found = [Answer(200, {}, text.encode()).data(WorkerState) for text in answers]
    return [state for state in found if state is not None]


async def test_a_problem_of_any_worker_is_shown_though_the_first_one_is_well() -> None:
    first = answer("w1", row("elsewhere", FAILS))
    down = [{"name": "cos", "state": "down", "seconds": 2.0, "reason": "no answer within 2 s"}]
    ended = [{"source": "static", "buckets": ["b-1"], "state": "ended", "seconds_left": 0, "reason": "gone"}]
    second = answer(
        "w2", row("w2", FAILS), row("w1"), status="degraded", dependencies=down, credentials=ended, clock_difference=-70
    )
    async with fake_workers([first], [second], ["<html>"]) as (_, admin), serving(admin.app()) as address:
        shown = (await get_json(f"{address}{CONSOLE}"))["data"]
    assert shown["status"] == "degraded"
    (problem,) = shown["symptoms"]
    assert (problem["name"], problem["values"]) == ("requests_fail", {"failed": 6, "requests": 8})
    assert (problem["since"], problem["replicas"]) == (50, ["elsewhere", "w2"])
    assert [replica["name"] for replica in shown["replicas"]] == ["elsewhere", "w1", "w2"]
    assert shown["replicas"][0]["version"] == "1.2.3"
    assert shown["dependencies"] == down
    assert shown["credentials"] == ended
    assert shown["clock_difference"] == -70
    assert shown["renewals"] is None


async def test_a_worker_that_does_not_answer_is_a_problem_with_the_time_since_when() -> None:
    started = time.time()
    async with fake_workers([answer("w1")] * 2, []) as (supervisor, admin), serving(admin.app()) as address:
        assert (await get_json(f"{address}{CONSOLE}"))["data"]["symptoms"] == []
        supervisor.ready()[1].kill()
        await supervisor.slots[1].current.ended.wait()  # type: ignore[union-attr]
        shown = (await get_json(f"{address}{CONSOLE}"))["data"]
    (problem,) = shown["symptoms"]
    assert (problem["name"], problem["values"]) == ("workers_missing", {"ready": 1, "configured": 2})
    assert started < problem["since"] < time.time()
    assert shown["status"] == "degraded"


def test_events_of_other_replicas_have_their_names_and_those_of_workers_have_none() -> None:
    reloaded = {"name": "reloaded", "at": 9, "values": {"keys": "-"}}
    found = states(answer("w1", row("w1") | {"events": [reloaded]}, row("other") | {"events": [reloaded, "garbled"]}))
    assert events_of(found) == [(None, Event("reloaded", 9, {"keys": "-"}))]
    found = states(answer("w1", row("w1"), row("other") | {"events": [reloaded]}))
    assert events_of(found) == [("other", Event("reloaded", 9, {"keys": "-"}))]


def test_a_worker_knows_itself_better_than_what_it_has_published() -> None:
    found = states(
        answer("w1", row("w1", at=9), row("w2", FAILS, at=5)), answer("w2", row("w2", at=9), row("w1", FAILS))
    )
    shown = merged_console(found, 0, {})
    assert (shown["symptoms"], shown["status"]) == ([], "ready")
    assert [replica["at"] for replica in shown["replicas"]] == [9, 9]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"data": []}', '{"data": {"replica": "w"}}', "[" * 100_000),
        answer("w", status="fine"),
        answer("w", dependencies=[{"name": "cos", "state": "purple"}]),
        answer("w", replicas=[{"name": "w"}]),
        answer("w", clock_difference="fast"),
    ],
    ids=range(10),
)
def test_an_answer_of_another_version_or_an_error_is_no_state(text: str) -> None:
    assert states(text) == []


async def test_what_no_state_can_be_read_from_is_shown_as_the_worker_answers() -> None:
    answers = [answer("w1", status="fine"), '{"other": 1}']
    async with fake_workers(answers) as (_, admin), serving(admin.app()) as address:
        assert (await get_json(f"{address}{CONSOLE}"))["data"]["symptoms"] == ["of one"]
        assert await get_json(f"{address}{CONSOLE}") == {"other": 1}


def test_an_nginx_asks_one_of_the_workers_and_the_last_question_counts() -> None:
    first, last = {"name": "edge-1", "seconds": 90.0}, {"name": "edge-1", "seconds": 0.1}
    other = {"name": "edge-2", "seconds": 5.0}
    found = states(answer("w1", nginx=[first]), answer("w2", nginx=[last, other]), answer("w3"))
    assert merged_console(found, 0, {})["nginx"] == [last, other]


BOUNDS = [0.1, 1.0]


def totals(counts: dict[str, int], durations: Sequence[object] = (0, 0, 0), **changes: Any) -> bytes:
    """Return the answer of a worker."""
    data = {"counts": counts, "durations": durations, "bounds": BOUNDS, "errors": [], **changes}
    return json.dumps({"status": "success", "data": data}).encode()


def read(history: MergedTotals, ended: asyncio.Event, body: bytes) -> None:
    """Read the answer of a worker, unless it is of another version."""
    if (found := Answer(200, {}, body).data(Totals)) is not None:
        history.read(ended, found)


def error(count: int, at: float, image_id: str, code: str = "image_not_found") -> dict[str, Any]:
    return {"code": code, "count": count, "at": at, "image_id": image_id}


def points(history: MergedTotals, since: float = 0) -> list[dict[str, Any]]:
    fine: list[dict[str, Any]] = history.replace({"points": "of one"}, since)["points"]["fine"]
    return fine


def test_a_point_has_what_all_workers_did_and_the_quantiles_of_all_their_requests() -> None:
    history, first, second = MergedTotals(100), asyncio.Event(), asyncio.Event()
    read(history, first, totals({"status 200": 3}, (3, 0, 0)))
    read(history, second, totals({"status 200": 4, "status 404": 1}, (0, 5, 0)))
    history.record(105)
    (point,) = points(history)
    assert (point["at"], point["span"], point["counts"]) == (105, 5, {"status 200": 7, "status 404": 1})
    assert point["quantiles"] == pytest.approx((0.28, 0.928, 0.9856))
    read(history, first, totals({"status 200": 4}, (4, 0, 0)))
    history.record(110)
    assert points(history, since=105) == [
        {"at": 110, "span": 5, "counts": {"status 200": 1}, "quantiles": pytest.approx((0.05, 0.095, 0.099))}
    ]


def test_the_counts_of_an_ended_worker_and_those_of_its_successor_make_no_step() -> None:
    history, first, second = MergedTotals(100), asyncio.Event(), asyncio.Event()
    read(history, first, totals({"status 200": 1000}, (1000, 0, 0)))
    history.record(105)
    first.set()
    read(history, second, totals({"status 200": 2}, (2, 0, 0)))
    history.record(110)
    history.record(115)
    assert [point["counts"] for point in points(history)] == [{"status 200": 1000}, {"status 200": 2}, {}]


def test_errors_are_summed_and_name_the_image_of_the_last_one_also_of_an_ended_worker() -> None:
    history, first, second = MergedTotals(100), asyncio.Event(), asyncio.Event()
    read(history, first, totals({}, errors=[error(3, 50, "a"), error(1, 70, "c", "origin_timeout")]))
    read(history, second, totals({}, errors=[error(2, 60, "b")]))
    history.record(105)
    first.set()
    history.record(110)
    shown = history.replace({"status": "ready", "errors": "of one"}, 0)
    assert shown["errors"] == [error(1, 70, "c", "origin_timeout"), error(5, 60, "b")]
    assert shown["status"] == "ready", "other parts stay those of one worker"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": {}}',
        b'{"data": {"counts": [], "durations": [], "bounds": [], "errors": []}}',
        totals({}, errors=[{"code": "a"}]),
        totals({}, durations=["many"]),
        totals({}).replace(b"0.1", b"Infinity").replace(b"[0, 0, 0]", b"[Infinity, 0, 0]"),
    ],
)
def test_a_worker_of_another_version_whose_answer_is_unreadable_is_left_out(body: bytes) -> None:
    history = MergedTotals(100)
    read(history, asyncio.Event(), body)
    history.record(105)
    assert history.replace({"points": "of one"}, 0) == {"points": "of one"}
    read(history, asyncio.Event(), totals({"status 200": 1}))
    read(history, asyncio.Event(), body)
    history.record(110)
    assert [point["counts"] for point in points(history)] == [{"status 200": 1}]


def test_a_worker_with_other_buckets_is_left_out() -> None:
    history = MergedTotals(100)
    read(history, asyncio.Event(), totals({"status 200": 1}))
    read(history, asyncio.Event(), totals({"status 200": 9}, bounds=[0.1, 2.0]))
    read(history, asyncio.Event(), totals({"status 200": 9}, (1, 2)))
    history.record(105)
    assert [point["counts"] for point in points(history)] == [{"status 200": 1}]
