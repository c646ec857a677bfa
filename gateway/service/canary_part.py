"""The part of the canary. Without the section ``canary`` it asks nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from gateway.access.canary_mark import CanaryMark
from gateway.concurrency.background import background
from gateway.metrics.canary import CanaryOutcomes
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

    def begin() -> AbstractAsyncContextManager[None] | None:
        if live.value.canary is None:
            return None
        from gateway.service.canary import asking

        return asking(live, metrics, signing, stores, origin)

    async with background("canary", _keep_asking(begin, changed, metrics.canary)):
        yield CanaryMark(live.map(shared_secret))


async def _keep_asking(
    begin: Callable[[], AbstractAsyncContextManager[None] | None], changed: asyncio.Event, outcomes: CanaryOutcomes
) -> None:
    """Ask as ``begin`` says, and anew each time that ``changed`` is set, until cancelled."""
    while True:
        changed.clear()
        async with AsyncExitStack() as stack:
            if (asking := begin()) is not None:
                await stack.enter_async_context(asking)
            await changed.wait()
        outcomes.clear()
