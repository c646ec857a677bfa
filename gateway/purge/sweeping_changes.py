"""Changes that name no image, which caches in front must hear of: settings, and changes that were missed."""

import asyncio
import logging
from typing import Final

from gateway.purge.heard_changes import HeardChanges
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.invalidation_channel import InvalidationChannel, Scope

logger = logging.getLogger(__name__)

_PAUSE: Final = 1.0  # seconds between two tries to publish


class SweepingChanges:
    """Puts changes into the list that nginx asks for, here and on every other replica: nginx may ask any of them.

    A change that Redis does not take is published later. The first change is the start of this process, which may have
    other settings than the process before.
    """

    def __init__(self, heard: HeardChanges) -> None:
        self._heard = heard
        self._unpublished = {Scope.DECISIONS}
        self._is_due = asyncio.Event()
        self._is_due.set()

    def made(self, scope: Scope) -> None:
        """Note a change of this process, and publish it soon."""
        self.heard(scope)
        self._unpublished.add(scope)
        self._is_due.set()

    def heard(self, scope: Scope) -> None:
        """Note a change, perhaps of another replica: decisions are void, or every image is another one."""
        self._heard.void_decisions()
        if scope is Scope.IMAGES:
            self._heard.record(None)

    async def publish(self, channel: InvalidationChannel) -> None:
        """Publish every change, until cancelled."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            unpublished, self._unpublished = self._unpublished, set()
            try:
                for scope in Scope:
                    if scope in unpublished:
                        await channel.publish_sweeping(scope)
            except CacheUnavailable as error:
                logger.debug("other replicas are not told yet: %s", error)
                self._unpublished |= unpublished
                self._is_due.set()
                await asyncio.sleep(_PAUSE)
