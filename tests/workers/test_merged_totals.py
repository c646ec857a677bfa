"""The totals of workers become points of all of them."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.workers.merged_console import MergedTotals, Totals
from gateway.workers.worker_calls import Answer

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
    assert history.replace({}, 0)["errors"] == [error(1, 70, "c", "origin_timeout"), error(5, 60, "b")]


def test_other_parts_of_the_answer_stay_those_of_one_worker() -> None:
    history = MergedTotals(100)
    read(history, asyncio.Event(), totals({}))
    assert history.replace({"status": "ready", "points": "of one", "errors": "of one"}, 0) == {
        "status": "ready",
        "points": {"fine": [], "coarse": []},
        "errors": [],
    }


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
