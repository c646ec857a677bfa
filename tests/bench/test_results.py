"""Medians, ratios, the table and the JSON document of a benchmark."""

import json
import platform

import pytest

from bench.comparisons import COMPARISONS, Comparison
from bench.results import Result, document, results, table, this_run
from tests.bench.runs import CACHED, RESULTS, RUN, STARTED, STREAMED


def test_a_ratio_compares_two_servers_within_a_round() -> None:
    # the machine was ten times slower in the second round; medians of the rates would give 0.5
    result = Result(Comparison("stream", "4k", "nginx"), (100.0, 10.0, 50.0), (100.0, 10.0, 500.0))
    assert result.ratio == 1.0
    assert STARTED.ratio == 0.5 / 1.5, "of seconds less is better"


@pytest.mark.parametrize(
    ("goal", "rate", "expected"), [(0.8, 0.8, True), (0.8, 0.796, True), (0.8, 0.794, False), (None, 0.1, None)]
)
def test_a_goal_is_met_by_the_ratio_as_it_is_printed(goal: float | None, rate: float, expected: bool | None) -> None:
    assert Result(Comparison("stream", "4k", "nginx", goal), (rate,), (1.0,)).is_met is expected


def test_each_comparison_gets_what_was_measured_of_both_servers() -> None:
    comparison = Comparison("memory", "1m", "nginx", 2.0)
    measured = {("memory", "1m"): [4.0, 5.0], ("nginx", "1m"): [1.0, 2.0], ("nginx", "4k"): [9.0, 9.0]}
    (result,) = results([comparison], measured)
    assert (result.median, result.baseline_median, result.ratio) == (4.5, 1.5, 3.25)


def test_the_table_has_a_row_for_each_comparison() -> None:
    header, line, streamed, cached, started = table(RESULTS).splitlines()
    assert header.count("|") == line.count("|") == streamed.count("|") == started.count("|")
    assert streamed == "| stream | 4k | requests/s | 800 | bare relay | 1,000 | 0.80 | 0.85 |"
    assert cached == "| front cache | 10m | requests/s | 100 | nginx cache | 10 | 10.00 |  |"
    assert started == "| start |  | s | 1.50 | bare start | 0.50 | 0.33 |  |"


def test_the_document_has_the_machine_and_every_round() -> None:
    written = json.loads(document(RUN, RESULTS))
    assert written["run"]["command"] == "python -m bench --rounds 3"
    assert {"python", "kernel", "cores", "processor", "date", "load", "nginx"} <= written["run"].keys()
    assert written["comparisons"][0] == {
        "mode": "stream",
        "size": "4k",
        "baseline": "bare relay",
        "goal": 0.85,
        "unit": "requests/s",
        "median": STREAMED.median,
        "baseline_median": 1000.0,
        "ratio": 0.8,
        "is_met": False,
        "rounds": [800.0, 900.0, 700.0],
        "baseline_rounds": [1000.0, 1000.0, 1000.0],
    }
    assert (written["comparisons"][1]["goal"], written["comparisons"][1]["is_met"]) == (None, None)
    assert len(written["comparisons"]) == len(RESULTS)
    assert CACHED.is_met is None


def test_a_run_names_this_python_and_its_command() -> None:
    run = this_run(["--only", "front cache"], rounds=9, seconds=2, per_cpu=True)
    assert run.python == platform.python_version()
    assert run.command == "python -m bench --only 'front cache'"
    assert run.cores >= 1
    assert (run.rounds, run.seconds, run.per_cpu) == (9, 2, True)


def test_no_pair_of_servers_is_compared_twice() -> None:
    pairs = [(comparison.mode, comparison.size, comparison.baseline) for comparison in COMPARISONS]
    assert len(set(pairs)) == len(pairs)
