"""The same gateway run otherwise: on uvloop."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from bench.comparisons import UVLOOP
from bench.contenders import MODES
from bench.processes import Contender
from bench.stack import Stack, gateway


@contextlib.contextmanager
def variations(stack: Stack, running: dict[str, Contender], wanted: set[str]) -> Iterator[dict[str, Contender]]:
    """Run those of the variations that are wanted; yield them by name. ``running`` has the gateways as they are."""
    found: dict[str, Contender] = {}
    with contextlib.ExitStack() as servers:
        for mode, image_proxy in MODES.items():
            name = f"{mode} {UVLOOP}"
            if name in wanted:
                one = servers.enter_context(gateway(stack, name, image_proxy, server={"loop": UVLOOP}))
                found[name] = replace(running[mode], prefix=f"http://{one.address}/i/", pid=one.pid)
        yield found
