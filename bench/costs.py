"""What else is measured in a round: p99 at half load, misses, look-ups, memory of a slow stream and of a URL."""

import contextlib
import itertools
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench import latency, streams
from bench.comparisons import CACHED_URL, GOAL, GOALS, MISS_IMAGE, MISS_URL, P99, SLOW_RELAY, SLOW_STREAM
from bench.contenders import MODES
from bench.local_memory import in_a_new_process
from bench.look_ups import ENTRY, HIT, MISS, RENEWAL, SIGNED, look_ups
from bench.misses import ColdIds, misses
from bench.processes import CLIENT_CORE, Contender
from bench.stack import Stack, gateway
from bench.wrk import rate

_MISSES = {MISS_URL: "/api/v1/images/id-%d/url", MISS_IMAGE: "/i/id-%d"}
_MOST_MISSES = 10_000  # a second
_SLOW = {SLOW_STREAM: "gateway", SLOW_RELAY: "bare relay"}
_READERS, _BYTES_A_SECOND, _SECONDS = 1_000, 5_000, 10.0
_URLS = 50_000
_LEAST = 0.01  # milliseconds; a server may be as fast as the origin

Measure = Callable[[], float]
Pair = tuple[str, str]


@contextlib.contextmanager
def costs(
    stack: Stack, running: dict[str, Contender], pairs: list[Pair], rounds: int, seconds: int
) -> Iterator[dict[Pair, Measure]]:
    """Prepare what is wanted, for so many rounds; yield the measurements by server and size, but those of rates."""
    with contextlib.ExitStack() as servers:
        found: dict[Pair, Measure] = {}
        misses_of: Callable[[str], float] | None = None
        look_ups_of: Callable[[str, str], float] | None = None
        for name, size in pairs:
            if name == GOAL:
                found[name, size] = partial(GOALS.__getitem__, size)
            elif name == CACHED_URL:
                found[name, size] = partial(in_a_new_process, _URLS)
            elif name in _SLOW:
                found[name, size] = partial(_slow_stream, _SLOW[name], size)
            elif name in _MISSES:
                misses_of = misses_of or servers.enter_context(_cold_gateway(stack, rounds, seconds))
                found[name, size] = partial(misses_of, _MISSES[name])
            elif name in (HIT, MISS, SIGNED, RENEWAL, ENTRY):
                look_ups_of = look_ups_of or servers.enter_context(look_ups(stack.databases, stack.origin[7:]))
                found[name, size] = partial(look_ups_of, name, size)
            elif name.startswith(P99):
                server = name.removeprefix(P99)
                mode = next(mode for mode, of, its in latency.ROWS if of == size and server in (mode, its))
                half = 0.5 * rate(running[mode], size, seconds, stack.folder)
                compared = (running[server], running["origin"])
                found[name, size] = partial(_p99_over_the_origin, compared, size, half, seconds, itertools.count())
        yield found


def _p99_over_the_origin(
    compared: tuple[Contender, Contender], size: str, per_second: float, seconds: int, seeds: Iterator[int]
) -> float:
    """Return how far the 99th percentile of a server exceeds that of the origin, in milliseconds."""
    cores, seed = os.sched_getaffinity(0), next(seeds)
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    try:
        mine, its = (
            latency.p99(latency.latencies(contender, size, per_second, seconds, seed)) for contender in compared
        )
    finally:
        os.sched_setaffinity(0, cores)
    return max(_LEAST, mine - its)


@contextlib.contextmanager
def _cold_gateway(stack: Stack, rounds: int, seconds: int) -> Iterator[Callable[[str], float]]:
    """Run a gateway that knows no URL, with a row for each miss; yield what returns the misses a second of a path."""
    rows = len(_MISSES) * (rounds + 1) * seconds * _MOST_MISSES
    stack.databases.table.execute(
        "INSERT INTO images (id, cos_key, mime_type, is_public, storage_status) "
        "SELECT 'id-' || n, 'photos/' || n || '.jpg', 'image/jpeg', true, 'active' FROM generate_series(1, %s) n",
        rows,
    )
    stack.databases.table.execute("ANALYZE images")
    ids = ColdIds(rows)
    with gateway(stack, "misses", MODES["redirect"]) as started:
        server = Contender(f"http://{started.address}", started.pid)

        def measured(path: str) -> float:
            return misses(server, path, ids, seconds, stack.folder)

        for path in _MISSES.values():  # opens connections
            measured(path)
        yield measured


def _slow_stream(server: str, size: str) -> float:
    """Return the memory that a new process of this server takes for a slow stream, in KiB."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a relay has two connections for each reader
    with (
        tempfile.TemporaryDirectory(prefix="image-gateway-bench-") as folder,
        streams.running(server, Path(folder), _READERS, size) as target,
    ):
        cost = streams.growth(target, _READERS, _BYTES_A_SECOND, _SECONDS)
    if cost.failures:
        raise RuntimeError(f"{server}: {cost.failures} of {_READERS} slow readers got no 200")
    return cost.more * 1024 / _READERS
