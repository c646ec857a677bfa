"""Tasks that run beside the requests."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

logger = logging.getLogger(__name__)

_CANCEL_AGAIN = 0.02


@asynccontextmanager
async def background(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Run ``work`` as a task called ``name``; at the end it is cancelled and waited for. The log hears if it dies."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell_of_failure)
    try:
        yield task
    finally:
        # More than once if need be: asyncio.wait_for, which aiopg uses, loses a cancellation that comes together with
        # the result (Python before 3.12, python/cpython#86296).
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN)


def _tell_of_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background task failed: name=%s", task.get_name(), exc_info=error)
