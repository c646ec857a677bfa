"""Waiting for what must come, and no longer."""

import asyncio
import time
from collections.abc import Callable

from gateway.cos_emulator.journal import Seen
from gateway.cos_emulator.server import CosEmulator


async def until(condition: Callable[[], object], *, seconds: float = 5.0, what: str = "what was waited for") -> None:
    """Return when ``condition`` holds; fail when it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        await asyncio.sleep(0.01)


async def until_asked(cos: CosEmulator, key: str) -> Seen:
    """The first request for the object, as soon as it has arrived at COS."""
    await until(lambda: cos.journal.of(key), what=f"a request for {key}")
    return cos.journal.of(key)[0]


async def until_finished(cos: CosEmulator, key: str) -> Seen:
    """The one request for the object, as soon as COS has nothing more to do with it."""
    await until(lambda: all(seen.finished for seen in cos.journal.of(key)), what=f"the end of the transfer of {key}")
    (seen,) = cos.journal.of(key)
    return seen
