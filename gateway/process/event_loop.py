"""The event loop of a process that serves: asyncio's own, or uvloop's."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal


def run_on(loop: Literal["asyncio", "uvloop"], work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until it ends, as ``asyncio.run`` does; the settings have checked that the loop is installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop == "uvloop":
        from gateway.process.uvloop_loop import Loop

        factory = Loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)
