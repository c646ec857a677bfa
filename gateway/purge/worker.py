"""The worker that sends the purges that are due: a request per batch, within the rate of all replicas."""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from gateway.changes.heartbeat import LEASE
from gateway.purge.intake import SETTLE, PurgeIntake
from gateway.purge.metrics import PurgeMetrics
from gateway.purge.target import PurgeRefused, Target, TargetUnavailable
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_queue.leased_queue import Claim
from gateway.redis_queue.purge_queue import LATEST_DUE
from gateway.redis_replicas.replica_store import ReplicaStore

logger = logging.getLogger(__name__)

_LOOK_EVERY: Final = 1.0  # seconds; another replica may have queued meanwhile
_FIRST_PAUSE: Final = 1.0  # seconds after a failure of the target, doubled by each further one
_LONGEST_PAUSE: Final = 60.0
# Seconds from a change to its second purge. By then a gateway that has not heard of the change trusts no row that it
# knew before, what it was sending has arrived, and nginx has heard again of the change.
REPEAT_AFTER: Final = LEASE + SETTLE + 0.5


@dataclass(slots=True)
class PurgeWorker:
    """Sends the due purges to the CDN, the oldest first. While the CDN takes none, purges keep their places.

    Results:

    - ``sent``
    - ``postponed``: the CDN takes no purges now.
    - ``failed``: the CDN refused the image. The purge will be tried again.
    - ``dead``: the CDN refused the image for the last time.

    replicas: lists the gateways. A purge is sent again if one of them is not known to have heard of the change.
    """

    intake: PurgeIntake
    target: Target
    metrics: PurgeMetrics
    replicas: ReplicaStore
    _: KW_ONLY
    random: Callable[[], float] = random.random
    _failures: int = field(default=0, init=False)
    _unsent: list[Sequence[Claim]] = field(default_factory=list, init=False)  # the next batch is the last element
    _claimed_at: float = field(default=0.0, init=False)
    _is_unanswered: bool = field(default=False, init=False)  # Redis may have claims that are not known here
    _listed: Collection[str] = field(default=(), init=False)  # the gateways, as the claims were made

    async def run(self) -> None:
        """Send until cancelled. A failure is logged, and the worker continues after a pause."""
        while True:
            await asyncio.sleep(await self._step())

    async def _step(self) -> float:
        """Send a batch, and return how many seconds to pause."""
        try:
            return await self.send_batch()
        except CacheUnavailable as error:
            self._is_unanswered = True
            logger.debug("purges wait for redis: %s", error)
            with suppress(CacheUnavailable):  # a Redis that takes no writes still tells what waits
                await self._observe()
        except Exception:  # the task survives unforeseen errors
            self.metrics.background_errors.labels(task="purge-worker").inc()
            logger.exception("sending purges failed")
        return _LOOK_EVERY

    async def send_batch(self) -> float:
        """Send the next batch, if a purge is due. Return after how many seconds to look again.

        Raises ``CacheUnavailable``. The claims are then free at the next call, or at the end of their lease.
        """
        if self._is_unanswered:
            await self.intake.queue.free(self._claimed_at)
            self._is_unanswered = False
        await self.intake.flush()
        wait = await self._observe()
        if wait > 0:
            return min(_LOOK_EVERY, wait)
        await asyncio.sleep(await self.intake.queue.take_slot())
        self._listed = await self.replicas.names()
        self._claimed_at = await self.intake.now()
        claims = await self.intake.queue.claim(self._claimed_at, self.target.most)
        if not claims:  # another replica was faster
            return _LOOK_EVERY
        try:
            await self._send(claims)
        except TargetUnavailable as error:
            return self._pause(error)
        if self._failures:
            logger.info("purges are sent again")
        self._failures = 0
        return 0.0

    async def _observe(self) -> float:
        """Set the queue's metrics, or remove them if it cannot be read. Return the seconds until a purge is due."""
        metrics = self.metrics
        try:
            now = await self.intake.now()
            queued, _, dead, next_due = await self.intake.queue.state(now)
        except CacheUnavailable:
            for gauge in (metrics.purge_lag, metrics.purge_queue_length, metrics.purge_dead):
                gauge.set(None)
            raise
        if next_due is not None and not 0 <= next_due <= now + LATEST_DUE:
            next_due = now  # a clock that was ahead, or another program, wrote that
        metrics.purge_lag.set(max(0.0, now - next_due) if next_due is not None else 0.0)
        metrics.purge_queue_length.set(queued)
        metrics.purge_dead.set(dead)
        return next_due - now if next_due is not None else math.inf

    async def give_back(self) -> None:
        """Release the claims of a cancelled ``run``. Otherwise other replicas would wait for the end of the lease."""
        with suppress(CacheUnavailable):
            await self._release()

    async def _send(self, claims: Sequence[Claim]) -> None:
        """Send the claims. Halve a batch that is refused until only the image at fault is left."""
        self._unsent = [claims]
        while self._unsent:
            batch, reason = self._unsent[-1], ""
            refused: Collection[str] | None = ()
            try:
                await self.target.purge([claim.item.image_id for claim in batch])
            except TargetUnavailable:
                self.metrics.purges.labels(result="postponed").inc(sum(map(len, self._unsent)))
                await self._release()
                raise
            except PurgeRefused as error:
                reason, refused = str(error), error.image_ids
            if refused is None and len(batch) > 1:
                half = len(batch) // 2
                self._unsent[-1:] = [batch[half:], batch[:half]]
            else:
                await self._settle(batch, reason, refused)
                self._unsent.pop()
            if self._unsent:
                await asyncio.sleep(await self.intake.queue.take_slot())

    async def _release(self) -> None:
        due_at = min((claim.due_at for batch in self._unsent for claim in batch), default=None)
        self._unsent = []
        await self.intake.queue.free(self._claimed_at, due_at)

    async def _settle(self, batch: Sequence[Claim], reason: str, refused: Collection[str] | None) -> None:
        """Remove the sent purges. ``refused`` are the images that failed for ``reason``. None: all images failed."""
        failed = {claim.item for claim in batch if refused is None or claim.item.image_id in refused}
        sent = [claim for claim in batch if claim.item not in failed]
        if sent:
            repeats = await self.intake.queue.sent(sent, self._claimed_at, self._listed, REPEAT_AFTER)
            self.metrics.purge_repeats.inc(repeats)
            self.metrics.purges.labels(result="sent").inc(len(sent))
        for item in sorted(failed):
            given_up = await self.intake.queue.fail(item, reason, await self.intake.now())
            self.metrics.purges.labels(result="dead" if given_up else "failed").inc()
            if given_up:
                logger.error("purge given up: image_id=%s reason=%s", item.image_id, reason)

    def _pause(self, error: TargetUnavailable) -> float:
        """Return the seconds until the next try. Log the first failure of an outage."""
        if not self._failures:
            logger.warning("the target takes no purges, they wait: reason=%s", error)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * float(2 ** min(self._failures, 10)))
        self._failures += 1
        return pause * (0.5 + self.random() / 2)
