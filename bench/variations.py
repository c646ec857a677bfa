"""The same gateway run otherwise: with two workers, without lines of requests, and from another checkout."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.comparisons import BEFORE, NO_LINES, ONE_PROCESS, PER_CPU, WORKERS
from bench.contenders import MODES, NAMES, modes_of
from bench.processes import Contender
from bench.stack import Stack, gateway


@contextlib.contextmanager
def variations(
    stack: Stack, running: dict[str, Contender], wanted: set[str], before: Path | None = None
) -> Iterator[dict[str, Contender]]:
    """Run those of the variations that are wanted; yield them by name.

    running: the gateways as they are.
    before: another checkout. None: no gateway of another one is wanted.
    """
    found: dict[str, Contender] = {}
    with contextlib.ExitStack() as servers:
        for name, arguments in ((ONE_PROCESS, ()), (WORKERS, ("--workers", "2"))):
            if wanted & {name, f"{name}{PER_CPU}"}:
                started = servers.enter_context(
                    gateway(stack, name, MODES["memory"], arguments=arguments, core=_every_core())
                )
                found[name] = replace(running["memory"], prefix=f"http://{started.address}/i/", pid=started.pid)
                found[f"{name}{PER_CPU}"] = replace(found[name], per_cpu=True)
        for tree, lines, more in ((None, False, NO_LINES), (before, True, BEFORE), (before, False, NO_LINES + BEFORE)):
            for mode, names in NAMES.items():
                if wanted & {f"{name}{more}" for name in names}:
                    started = servers.enter_context(
                        gateway(
                            stack, f"{mode}{more}", MODES[mode], lines=lines, tree=tree, has_callers=mode == "memory"
                        )
                    )
                    found |= {f"{name}{more}": what for name, what in modes_of(mode, started, stack).items()}
        yield found


def _every_core() -> str:
    """Return all cores as taskset(1) wants them; wrk and the origin use one of them."""
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
