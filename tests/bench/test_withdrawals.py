"""Times of withdrawals, in one line."""

from bench.withdrawals import summary


def test_the_summary_has_the_median_the_99th_percentile_and_the_worst() -> None:
    seconds = [number / 1000 for number in range(1, 1001)]
    assert summary(seconds) == "1000 changes: median 500 ms, p99 991 ms, worst 1000 ms (goal: p99 500 ms)"
