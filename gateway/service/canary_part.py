"""The part of the canary. Without the section ``canary`` it asks nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.access.canary_mark import CanaryMark
from gateway.concurrency.background import background
from gateway.origin.client import OriginClient
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing
from gateway.service.stores import Stores, shared_secret
from gateway.settings import Live, Settings


@asynccontextmanager
async def open_canary(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, origin: OriginClient
) -> AsyncIterator[CanaryMark]:
    """Ask in the background, after a reload as it says. Yield what knows the canary's requests from those of users."""
    changed = asyncio.Event()
    live.watch(lambda old, new: changed.set() if old.canary != new.canary else None)

    async def keep_asking() -> None:
        while True:
            changed.clear()
            async with AsyncExitStack() as stack:
                if live.value.canary is not None:
                    from gateway.service.canary import asking

                    await stack.enter_async_context(asking(live, metrics, signing, stores, origin))
                await changed.wait()
            metrics.canary.clear()

    async with background("canary", keep_asking()):
        yield CanaryMark(live.map(shared_secret))
