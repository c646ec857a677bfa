"""``python -m bench``: measures all servers in alternating rounds, and prints medians and ratios."""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from bench.contenders import contenders
from bench.wrk import rate

# Comparisons: mode of the gateway, image size, server to compare with, least ratio of their rates.
GOALS = [
    ("stream", "4k", "bare relay", 0.85),
    ("stream", "100k", "bare relay", 0.9),
    ("stream", "1m", "nginx", 0.9),
    ("stream", "10m", "nginx", 1.0),
    ("memory", "4k", "bare bytes", 0.7),
    ("memory", "100k", "nginx", 1.0),
    ("memory", "1m", "nginx", 2.0),
    ("redirect", "4k", "bare 302", 0.7),
    ("variant", "4k", "memory", 0.9),
    ("variant", "100k", "memory", 0.95),
]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", default="", help="a mode: stream, memory, redirect or variant")
    parser.add_argument(
        "--per-cpu", action="store_true", help="requests per second of processor time, for machines with other load"
    )
    options = parser.parse_args()
    missing = [program for program in ("nginx", "wrk", "taskset") if not _has(program)]
    if missing:
        sys.exit(f"the benchmark needs {' and '.join(missing)}: apt-get install nginx wrk util-linux")
    goals = [goal for goal in GOALS if options.only in goal[0]]
    pairs = list(dict.fromkeys(pair for mode, size, baseline, _ in goals for pair in ((mode, size), (baseline, size))))
    rates: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    with tempfile.TemporaryDirectory(prefix="image-gateway-bench-") as folder, contenders(Path(folder)) as running:
        for name, size in pairs:
            rate(running[name], size, 1, Path(folder))  # fills caches
        for round_number in range(options.rounds):
            print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
            for name, size in pairs:
                rates[name, size].append(
                    rate(running[name], size, options.seconds, Path(folder), per_cpu=options.per_cpu)
                )
    print("| gateway | size | requests/s | compared with | requests/s | ratio | goal |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: |")
    for mode, size, baseline, goal in goals:
        gateway_rates, baseline_rates = rates[mode, size], rates[baseline, size]
        ratio = statistics.median(ours / theirs for ours, theirs in zip(gateway_rates, baseline_rates, strict=True))
        gateway_rate, baseline_rate = statistics.median(gateway_rates), statistics.median(baseline_rates)
        print(
            f"| {mode} | {size} | {gateway_rate:,.0f} | {baseline} | {baseline_rate:,.0f} | {ratio:.2f} | {goal:.2f} |"
        )


def _has(program: str) -> bool:
    return shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin") is not None


if __name__ == "__main__":
    main()
