"""Which servers a run compares."""

from bench.comparisons import BEFORE, COMPARISONS, GOAL, GOALS, NO_LINES, against, chosen
from bench.contenders import NAMES


def test_modes_are_chosen_by_a_part_of_their_name() -> None:
    assert {comparison.mode for comparison in chosen("accel", set())} == {"accel", "accel cache", "accel kept"}
    assert not chosen("nothing", set())


def test_the_gateway_is_measured_with_lines_of_requests_and_without() -> None:
    without = {comparison.mode.removesuffix(NO_LINES): comparison for comparison in chosen(NO_LINES, set())}
    assert without.keys() == NAMES.keys()
    with_lines = {(comparison.mode, comparison.size, comparison.baseline) for comparison in COMPARISONS}
    assert {(mode, comparison.size, comparison.baseline) for mode, comparison in without.items()} <= with_lines


def test_every_mode_is_compared_with_that_of_another_checkout() -> None:
    found = against("")
    assert {comparison.mode.removesuffix(NO_LINES) for comparison in found} == {
        name for names in NAMES.values() for name in names
    }
    assert all(comparison.baseline == f"{comparison.mode}{BEFORE}" and comparison.goal for comparison in found)
    assert {comparison.mode for comparison in against("redirect")} == {"redirect", f"redirect{NO_LINES}"}


def test_the_s3_gateway_is_compared_with_and_without_its_cache() -> None:
    without = chosen("", {"s3-gateway"})
    assert {comparison.mode for comparison in without if comparison.baseline == "s3-gateway"} == {"stream", "accel"}
    assert not [comparison for comparison in without if comparison.baseline == "s3-gateway cache"]
    cached = [
        comparison
        for comparison in chosen("front cache", {"s3-gateway cache"})
        if comparison.baseline == "s3-gateway cache"
    ]
    assert [(comparison.size, comparison.goal) for comparison in cached] == [
        ("4k", 1.0),
        ("100k", 1.0),
        ("1m", 1.0),
        ("10m", 1.0),
    ]


def test_a_fixed_goal_has_a_value() -> None:
    sizes = [comparison.size for comparison in COMPARISONS if comparison.baseline == GOAL]
    assert sizes
    assert set(sizes) == GOALS.keys()
