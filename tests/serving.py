"""An application of a test on a free port."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


@asynccontextmanager
async def serving(
    app: web.Application, prepare: Callable[[web.AppRunner], None] | None = None, **options: Any
) -> AsyncIterator[str]:
    """Serve ``app``; yield its address, without a slash at the end.

    ``prepare`` gets the runner before it listens, such as ``install_dispatch``; ``options`` are those of the runner.
    """
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        if prepare is not None:
            prepare(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
