"""Background tasks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

logger = logging.getLogger(__name__)

_CANCEL_INTERVAL = 0.02  # seconds


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


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background task failed: name=%s", task.get_name(), exc_info=error)
