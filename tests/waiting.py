"""Waiting for what happens beside a test."""

import asyncio
from collections.abc import Callable


async def wait_until(condition: Callable[[], object], *, within: float = 5.0) -> None:
    """Return as soon as ``condition`` holds; fail when it does not ``within`` so many seconds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)
