"""A report to the log at SIGUSR1: how late the event loop is, connections by client, and every task with its stack."""

import asyncio
import logging
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

logger = logging.getLogger(__name__)

_MOST_STACKS: Final = 200
_MOST_CLIENTS: Final = 20  # of a port
_MOST_NAMES: Final = 3  # of the tasks with one stack

# By port: returns the number of open connections by the address of the client.
Clients = Mapping[str, Callable[[], "Counter[str]"]]


def report_on_signal(clients: Clients) -> None:
    """Let the running event loop write the report at each SIGUSR1."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: loop.call_soon(_report, clients, loop.time()))


def _report(clients: Clients, asked: float) -> None:
    """Write the report. ``asked``: the loop's time one turn ago."""
    turn = (asyncio.get_running_loop().time() - asked) * 1000
    connections = {port: dict(count().most_common(_MOST_CLIENTS)) for port, count in clients.items()}
    by_stack = defaultdict[str, list[str]](list)
    for task in asyncio.all_tasks():
        by_stack[_stack(task.get_coro())].append(task.get_name())
    tasks = sum(map(len, by_stack.values()))
    logger.warning("report: tasks=%s turn_ms=%.1f connections=%s", tasks, turn, connections)
    stacks = sorted(by_stack.items(), key=lambda item: -len(item[1]))
    for stack, names in stacks[:_MOST_STACKS]:
        logger.warning("report: tasks=%s names=%s stack=%s", len(names), ",".join(sorted(names)[:_MOST_NAMES]), stack)


def _stack(awaited: Any) -> str:
    """Return the calls of a coroutine and of what it waits for, the outermost first."""
    calls = list[str]()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            file = "/".join(frame.f_code.co_filename.rsplit("/", 2)[-2:])
            calls.append(f"{file}:{frame.f_lineno} {frame.f_code.co_qualname}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return " > ".join(calls)
