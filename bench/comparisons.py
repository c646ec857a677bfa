"""The comparisons, with the least ratio of the gateway's rate to the other one's where there is a goal."""

from dataclasses import dataclass

from bench.look_ups import ENTRY, HIT, MISS, RENEWAL, SIGNED

_SIZES = ("4k", "100k", "1m", "10m")
STARTS = "start"
WORKERS, ONE_PROCESS = "2 workers", "1 process"
PER_CPU = " (CPU)"  # per second of processor time
NO_LINES = ", no lines"  # ends the name of a gateway that writes no line for a request
BEFORE = ", before"  # ends the name of a gateway of the other checkout
# nginx with njs: public images, and private ones with kept decisions
EPOCH_CACHE, PRIVATE_CACHE, KEPT_ACCEL = "epoch cache", "private cache", "accel kept"
P99 = "p99 "  # begins the name of a server whose latency is measured
MISS_URL, MISS_IMAGE = "miss /url", "miss /i/"
SLOW_STREAM, SLOW_RELAY = "slow stream", "slow bare relay"
CACHED_URL = "cached URL"
GOAL = "the goal"
# What GOAL is by size: milliseconds of the 99th percentile, KiB of a stream (150 MiB for 1,000), bytes of a cached URL
# (100 MiB for 100,000), microseconds of a renewal in a batch of 100, bytes of a usual entry of Redis (allocated: 224).
GOALS = {"4k": 2.0, "10m": 150 * 1024 / 1000, "": 100 * 1024**2 / 100_000, "100 at once": 90.0, "of Redis": 218.0}
_UNITS = {STARTS: "s", "batch": "images/s", SLOW_STREAM: "KiB", CACHED_URL: "bytes", ENTRY: "bytes"}
_UNITS |= dict.fromkeys((HIT, MISS, RENEWAL), "µs")


@dataclass(frozen=True)
class Comparison:
    """A mode of the gateway, an image size, the server to compare with, and the least ratio (None: no goal)."""

    mode: str
    size: str
    baseline: str
    goal: float | None = None

    @property
    def unit(self) -> str:
        """``requests/s``, ``images/s`` (several a request), ``s``, ``ms``, ``µs``, ``KiB`` or ``bytes``."""
        return "ms" if self.mode.startswith(P99) else _UNITS.get(self.mode, "requests/s")

    @property
    def less_is_better(self) -> bool:
        """Whether the smaller value is the better one, as of all but rates."""
        return not self.unit.endswith("/s")


COMPARISONS = [
    Comparison("stream", "4k", "bare relay", 0.85),
    Comparison("stream", "100k", "bare relay", 0.9),
    Comparison("stream", "1m", "nginx", 0.9),
    Comparison("stream", "10m", "nginx", 1.0),
    Comparison("memory", "4k", "bare bytes", 0.72),
    Comparison("memory", "100k", "nginx", 1.0),
    Comparison("memory", "1m", "nginx", 2.0),
    Comparison("redirect", "4k", "bare 302", 0.62),
    *(
        Comparison(f"{mode}{NO_LINES}", "4k", baseline)
        for mode, baseline in (("stream", "bare relay"), ("memory", "bare bytes"), ("redirect", "bare 302"))
    ),
    Comparison("variant", "4k", "memory", 0.9),
    Comparison("variant", "100k", "memory", 0.95),
    Comparison("304", "4k", "bare 304"),
    *(Comparison(mode, "4k", "bare bytes", 0.70) for mode in ("by token", "by cookie", "by link")),
    Comparison("range", "4k", "bare bytes", 0.75),
    # the goal is 12,000 warm /url a second on a machine that answers 17,900 redirects
    Comparison("url", "4k", "redirect", 0.67),
    Comparison("batch", "4k", "url"),
    *(Comparison("accel", size, "nginx") for size in _SIZES),
    *(Comparison("accel cache", size, "nginx cache") for size in _SIZES),
    *(Comparison("front cache", size, "nginx cache") for size in _SIZES),
    *(Comparison(EPOCH_CACHE, size, "front cache", 0.95) for size in _SIZES),
    *(Comparison(PRIVATE_CACHE, size, "nginx cache") for size in _SIZES),
    *(Comparison(KEPT_ACCEL, size, "nginx cache") for size in _SIZES),
    *(
        Comparison(f"{WORKERS}{what}", size, f"{ONE_PROCESS}{what}")
        for what in ("", PER_CPU)
        for size in ("4k", "100k")
    ),
    Comparison(MISS_URL, "4k", "bare 302", 0.16),
    # the goal is 4,000 misses a second on that machine
    Comparison(MISS_IMAGE, "4k", "redirect", 0.22),
    Comparison(f"{P99}memory", "4k", GOAL, 1.0),
    Comparison(f"{P99}memory", "4k", f"{P99}bare bytes"),
    Comparison(f"{P99}stream", "4k", f"{P99}bare relay", 1.0),
    Comparison(f"{P99}stream", "100k", f"{P99}bare relay", 1.0),
    Comparison(SLOW_STREAM, "10m", GOAL, 1.0),
    Comparison(SLOW_STREAM, "10m", SLOW_RELAY),
    Comparison(CACHED_URL, "", GOAL, 1.0),
    Comparison(HIT, "32 at once", SIGNED, 1.05),
    Comparison(HIT, "1 at once", SIGNED, 1.0),
    Comparison(MISS, "32 at once", SIGNED, 0.59),
    Comparison(MISS, "1 at once", SIGNED),
    Comparison(RENEWAL, "100 at once", GOAL, 1.0),
    Comparison(ENTRY, "of Redis", GOAL, 1.0),
    Comparison(STARTS, "", "bare start"),
]

# Compared with nginx-s3-gateway, if its rendered configuration is given: without its cache, and with it.
_S3_GOALS: list[tuple[str, str, tuple[float | None, ...]]] = [
    ("stream", "s3-gateway", (0.9, 1.0, 2.0, 2.0)),
    ("accel", "s3-gateway", (None, None, None, None)),
    ("memory", "s3-gateway cache", (1.4, 1.1, 1.8, 1.8)),
    ("accel cache", "s3-gateway cache", (0.7, 0.7, None, None)),
    ("front cache", "s3-gateway cache", (1.0, 1.0, 1.0, 1.0)),
    (EPOCH_CACHE, "s3-gateway cache", (None, None, None, None)),
    (PRIVATE_CACHE, "s3-gateway cache", (1.0, 1.0, 1.2, None)),
    (KEPT_ACCEL, "s3-gateway cache", (None, None, None, None)),
]

# Of two checkouts, by processor time. A ratio of five rounds of two seconds differs by some hundredths.
_ALIKE = 0.95
_AGAINST = [
    *(("stream", size) for size in ("4k", "100k", "1m")),
    *(("memory", size) for size in ("4k", "100k", "1m")),
    *((mode, "4k") for mode in ("redirect", "variant", "304", "range", "url", "batch")),
    *((mode, "4k") for mode in ("by token", "by cookie", "by link")),
    *((f"{mode}{NO_LINES}", "4k") for mode in ("stream", "memory", "redirect")),
]


def against(only: str) -> list[Comparison]:
    """Return the comparisons with the gateway of another checkout whose mode contains ``only``."""
    return [Comparison(mode, size, f"{mode}{BEFORE}", _ALIKE) for mode, size in _AGAINST if only in mode]


def chosen(only: str, s3_gateways: set[str]) -> list[Comparison]:
    """Return the comparisons whose mode contains ``only``, with those of the given ones of nginx-s3-gateway."""
    with_s3 = [
        Comparison(mode, size, baseline, goal)
        for mode, baseline, goals in _S3_GOALS
        if baseline in s3_gateways
        for size, goal in zip(_SIZES, goals, strict=True)
    ]
    return [comparison for comparison in COMPARISONS + with_s3 if only in comparison.mode]
