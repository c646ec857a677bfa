"""The console of all workers: problems, lights, replicas."""

import json
import time
from typing import Any

import pytest

from gateway.metrics.events import Event
from gateway.metrics.symptom import Symptom
from gateway.workers.merged_console import WorkerState, events_of, merged_console
from gateway.workers.worker_calls import Answer
from tests.serving import serving
from tests.workers.conftest import fake_workers, get_json

CONSOLE = "/api/v1/monitoring/console"
FAILS = Symptom("requests_fail", "bad", {"failed": 3, "requests": 4}, 50)


def row(name: str, *symptoms: Symptom, at: float = 100) -> dict[str, Any]:
    return {"name": name, "at": at, "version": "1.2.3", "symptoms": [symptom.as_json() for symptom in symptoms]}


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
