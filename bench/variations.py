"""The same gateway run otherwise: with two workers on all cores."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace

from bench.comparisons import ONE_PROCESS, PER_CPU, WORKERS
from bench.contenders import MODES
from bench.processes import Contender
from bench.stack import Stack, gateway


@contextlib.contextmanager
def variations(stack: Stack, running: dict[str, Contender], wanted: set[str]) -> Iterator[dict[str, Contender]]:
    """Run those of the variations that are wanted; yield them by name. ``running`` has the gateways as they are."""
    found: dict[str, Contender] = {}
    with contextlib.ExitStack() as servers:
        for name, arguments in ((ONE_PROCESS, ()), (WORKERS, ("--workers", "2"))):
            if wanted & {name, f"{name}{PER_CPU}"}:
                one = servers.enter_context(
                    gateway(stack, name, MODES["memory"], arguments=arguments, core=_every_core())
                )
                found[name] = replace(running["memory"], prefix=f"http://{one.address}/i/", pid=one.pid)
                found[f"{name}{PER_CPU}"] = replace(found[name], per_cpu=True)
        yield found


def _every_core() -> str:
    """Return all cores as taskset(1) wants them; wrk and the origin use one of them."""
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
