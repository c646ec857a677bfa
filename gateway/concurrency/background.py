"""Background work: tasks, waits for their events, and threads that do not keep the process from ending."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

_CANCEL_INTERVAL = 0.02  # seconds

T = TypeVar("T")


@asynccontextmanager
async def background(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Run ``work`` as a task called ``name``, and log its failure. On exit, cancel the task and wait for its end."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    try:
        yield task
    finally:
        # Repeatedly: asyncio.wait_for, which aiopg uses, loses a cancellation that arrives together with the result
        # (Python before 3.12, python/cpython#86296).
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_INTERVAL)


async def first_of(*events: asyncio.Event, timeout: float | None = None) -> None:
    """Wait until any of the events is set, or for ``timeout`` seconds. No task is left, also after a cancellation."""
    waits = [asyncio.create_task(event.wait(), name="wait-for-event") for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def in_daemon_thread(work: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """Run blocking ``work`` in a new thread called ``name``, and return its result as a future.

    A file system that hangs does not keep the process from ending, which waits for the few threads of
    ``asyncio.to_thread``. Each call starts a thread: the caller bounds their number. A cancelled future stops no work.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not future.done():
            set_outcome()
            future.exception()  # retrieved, so that asyncio does not warn if nobody waits any more

    def run() -> None:
        try:
            outcome = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - the caller gets it
            outcome = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background task failed: name=%s", task.get_name(), exc_info=error)
