"""Wait for the first of several events."""

import asyncio


async def first_of(*events: asyncio.Event, timeout: float | None = None) -> None:
    """Wait until any of the events is set, or for ``timeout`` seconds. No task is left, also after a cancellation."""
    waits = [asyncio.create_task(event.wait(), name="wait-for-event") for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
