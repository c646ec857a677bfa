"""A run of the benchmark as the writers get it."""

from bench.comparisons import Comparison
from bench.results import Result, Run

RUN = Run(
    date="2026-11-25T20:00:00+00:00",
    command="python -m bench --rounds 3",
    python="3.13.5",
    kernel="Linux 6.12 x86_64",
    processor="A <fast> & quiet processor",
    cores=2,
    load=0.1,
    nginx="1.26.3",
    rounds=3,
    seconds=2,
    per_cpu=False,
)
STREAMED = Result(Comparison("stream", "4k", "bare relay", 0.85), (800.0, 900.0, 700.0), (1000.0, 1000.0, 1000.0))
CACHED = Result(Comparison("front cache", "10m", "nginx cache"), (100.0, 100.0, 100.0), (10.0, 10.0, 10.0))
STARTED = Result(Comparison("start", "", "bare start"), (1.5, 2.0, 1.0), (0.5, 0.5, 0.5))
RESULTS = [STREAMED, CACHED, STARTED]
