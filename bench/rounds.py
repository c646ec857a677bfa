"""Interleaved rounds: in each, every server is measured once with every size."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.comparisons import STARTS, Comparison
from bench.contenders import gateways_and_baselines
from bench.costs import costs
from bench.peers import S3Gateway, peers
from bench.processes import SERVER_CORE, pinned
from bench.stack import Stack, gateway, running_stack
from bench.variations import variations
from bench.wrk import fill, rate
from gateway_dev.processes import free_port

Pair = tuple[str, str]
_PAUSE = 0.002  # seconds between two questions whether a server is ready


@dataclass(frozen=True)
class Plan:
    """How long and how to measure.

    per_cpu: count a second of processor time instead of a second.
    origin_port: the port of the origin. None: a free one.
    before: the other checkout, if the gateways of two are compared.
    """

    rounds: int
    seconds: int
    per_cpu: bool = False
    origin_port: int | None = None
    before: Path | None = None


def measure(comparisons: list[Comparison], plan: Plan, s3_gateways: list[S3Gateway]) -> dict[Pair, list[float]]:
    """Return the measurements of each round, by server and size, in the unit of their comparison."""
    sides = (
        pair
        for comparison in comparisons
        for pair in ((comparison.mode, comparison.size), (comparison.baseline, comparison.size))
    )
    pairs = list(dict.fromkeys(sides))
    measured: dict[Pair, list[float]] = {pair: [] for pair in pairs}
    with contextlib.ExitStack() as servers:
        measures: dict[Pair, Callable[[], float]] = {}
        for round_number in range(plan.rounds):
            print(f"round {round_number + 1} of {plan.rounds}", file=sys.stderr)
            # One process of the same code is some hundredths faster than the next (where its memory lies, the seed of
            # its hashes): two checkouts are compared by several processes of each.
            if plan.before is not None or not measures:
                servers.close()
                measures = servers.enter_context(_measures(pairs, plan, s3_gateways))
            # Every other round is backwards, so that no server always follows the same other one.
            for pair in pairs if round_number % 2 == 0 else reversed(pairs):
                measured[pair].append(measures[pair]())
    return measured


@contextlib.contextmanager
def _measures(pairs: list[Pair], plan: Plan, s3_gateways: list[S3Gateway]) -> Iterator[dict[Pair, Callable[[], float]]]:
    with contextlib.ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="image-gateway-bench-")))
        stack = servers.enter_context(running_stack(folder, plan.origin_port))
        running = servers.enter_context(gateways_and_baselines(stack))
        wanted = {name for name, _ in pairs}
        running |= servers.enter_context(peers(stack, running, wanted, s3_gateways))
        running |= servers.enter_context(variations(stack, running, wanted, plan.before))
        measures = servers.enter_context(costs(stack, running, pairs, plan.rounds, plan.seconds))
        for name, size in (pair for pair in pairs if pair not in measures):
            if name in (STARTS, f"bare {STARTS}"):
                measures[name, size] = partial(_gateway_start if name == STARTS else _bare_start, stack)
                continue
            fill(running[name], size)
            rate(running[name], size, 1, folder)  # opens connections, and lets the server adapt
            measures[name, size] = partial(rate, running[name], size, plan.seconds, folder, per_cpu=plan.per_cpu)
        yield measures


def _gateway_start(stack: Stack) -> float:
    """Return the seconds from the command to an answer of 200 from ``/readyz``."""
    started = time.perf_counter()
    with gateway(stack, STARTS, {}, ready="/readyz", pause=_PAUSE):
        return time.perf_counter() - started


def _bare_start(stack: Stack) -> float:
    """Return the seconds from the command to the first answer of a bare aiohttp server."""
    address = f"127.0.0.1:{free_port()}"
    empty = stack.folder / "empty"
    empty.mkdir(exist_ok=True)
    arguments = (address.rpartition(":")[2], stack.origin, str(empty))
    started = time.perf_counter()
    ready = f"http://{address}/relay/4k-0"
    with pinned(SERVER_CORE, sys.executable, "-m", "bench.bare", *arguments, ready=ready, pause=_PAUSE):
        return time.perf_counter() - started
