"""The worker that renews presigned URLs before they end."""

import asyncio
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field

from gateway.redis_connection.guarded_client import CacheUnavailable, in_parallel
from gateway.redis_connection.shards import Shard, Shards
from gateway.redis_queue.leased_queue import LeasedQueue, QueueState
from gateway.settings import Live, UrlPrerefreshSettings
from gateway.urls.metrics import UrlMetrics
from gateway.urls.refresh_batch import RefreshBatch

logger = logging.getLogger(__name__)

_LOOK_EVERY = 1.0
_LEAST_PAUSE = 0.2  # seconds between two cycles, in which the batches of the next cycle fill up
_PAUSE_AFTER_FAILURE = 1.0
# Of a shard, before the others have their turn: else a backlog of some shards outlives that of others.
_MOST_IN_TURN = 500
_MOST_AT_ONCE = 100  # packing and parsing more would keep the event loop busy for more than two milliseconds


@dataclass(slots=True)
class RefreshReport:
    """Results of renewals of URLs since the start. ``last_run``: Unix seconds, None before the first cycle ended."""

    running: bool = False
    last_run: float | None = None
    results: "Counter[str]" = field(default_factory=Counter)

    @property
    def success_count(self) -> int:
        """URLs renewed, or found renewed."""
        return self.results["renewed"] + self.results["fresh"]

    @property
    def error_count(self) -> int:
        """Failed attempts."""
        return self.results["failed"] + self.results["dead"]


@dataclass(slots=True)
class RefreshWorker:
    """Renews presigned URLs as they fall due in the queue in Redis: at least every ``interval`` seconds, sooner if due.

    Each second the worker looks at a shard of each server in turn, and at the shards with something due. So a renewal
    that another replica has queued for an earlier time is found within as many seconds as a server has shards. Each
    server is drained by itself: one that is slow, or does not answer, holds up its shards alone.
    """

    shards: Shards
    queue: LeasedQueue
    refresh_batch: RefreshBatch
    metrics: UrlMetrics
    settings: Live[UrlPrerefreshSettings]
    _: KW_ONLY
    now: Callable[[], float] = time.time
    report: RefreshReport = field(default_factory=RefreshReport, init=False)
    _states: dict[Shard, QueueState] = field(default_factory=dict, init=False)  # of the shards that could be read
    _turn: int = field(default=0, init=False)

    async def run(self) -> None:
        """Renew until cancelled. A cycle that fails is logged, and the next one follows."""
        self.report.running = True
        self._record_success()
        try:
            while True:
                pause = _PAUSE_AFTER_FAILURE
                try:
                    with self.metrics.refresh_cycle_duration.time():
                        await self.drain(self._due_or_unknown())
                    await self._until_due()
                    pause = 0.0
                except CacheUnavailable as error:
                    logger.debug("renewals wait for redis: %s", error)
                except Exception:  # the task survives unforeseen errors; the next cycle follows
                    logger.exception("refresh cycle failed")
                await asyncio.sleep(pause)
        finally:
            self.report.running = False

    async def _until_due(self) -> None:
        """Wait until a renewal is due, at most ``interval``. Other replicas may queue earlier renewals meanwhile."""
        began = self.now()
        await asyncio.sleep(min(_LEAST_PAUSE, self.settings.value.interval))
        while (remaining := began + self.settings.value.interval - self.now()) > 0:
            self._turn += 1
            await self._look({*self._due_or_unknown(), *self.shards.in_turn(self._turn)})
            due_times = [state.next_due for state in self._states.values() if state.next_due is not None]
            remaining = min([remaining, *(due_at - self.now() for due_at in due_times)])
            if remaining <= 0:
                return
            self._record_success()
            await asyncio.sleep(min(_LOOK_EVERY, remaining))

    async def drain(self, shards: Sequence[Shard]) -> None:
        """Renew all that is due in these shards. Raises ``CacheUnavailable`` after the other servers, if one fails."""
        failures: list[CacheUnavailable] = []

        async def drain_server(own: Sequence[Shard]) -> None:
            try:
                # First a look: a Redis that takes no writes still tells what is overdue.
                while due := await self._look(own):
                    most = min(self.settings.value.batch_size, _MOST_AT_ONCE)
                    while claims := await self.queue.claim(self.now(), most, due):
                        results = await self.refresh_batch.refresh(claims)
                        for result, count in results.items():
                            self.metrics.refresh.labels(result=result).inc(count)
                        self.report.results += results
            except CacheUnavailable as error:
                failures.append(error)

        by_server = self.shards.by_server(shards)
        await in_parallel(drain_server(own) for own in by_server.values())
        self._show()
        for error in failures:
            raise error
        if sum(map(len, by_server.values())) < len(shards):
            raise CacheUnavailable("some shards have no server")
        self.report.last_run = self.now()
        self._record_success()

    def _due_or_unknown(self) -> list[Shard]:
        """Return the shards with something due, and the shards whose state is not known."""
        now = self.now()
        return [
            shard
            for shard in self.shards.all
            if (state := self._states.get(shard)) is None or (state.next_due is not None and state.next_due <= now)
        ]

    async def _look(self, shards: Iterable[Shard]) -> dict[Shard, int]:
        """Remember the states of the shards. Return how many to renew in which now, in a random order."""
        looked_at = list(shards)
        for shard in looked_at:
            self._states.pop(shard, None)
        try:
            self._states.update(await self.queue.look(self.now(), looked_at))
        finally:
            self._show()
        random.shuffle(looked_at)
        return {
            shard: min(state.due, _MOST_IN_TURN)
            for shard in looked_at
            if (state := self._states.get(shard)) is not None and state.due
        }

    def _show(self) -> None:
        """Set the metrics of the queue, or remove them while a shard cannot be read."""
        metrics, states, now = self.metrics, self._states.values(), self.now()
        if len(states) < len(self.shards.all):
            for gauge in (metrics.refresh_queue_length, metrics.refresh_due, metrics.refresh_dead, metrics.refresh_lag):
                gauge.set(None)
            return
        metrics.refresh_queue_length.set(sum(state.queued for state in states))
        metrics.refresh_due.set(sum(state.due for state in states))
        metrics.refresh_dead.set(sum(state.dead for state in states))
        # Another program may have queued for minus infinity.
        times = [state.next_due for state in states if state.next_due is not None and math.isfinite(state.next_due)]
        metrics.refresh_lag.set(max(0.0, now - min(times, default=now)))

    def _record_success(self) -> None:
        """Record that nothing is due now. For every ``interval``, an alert limits the time since the last record."""
        if len(self._states) == len(self.shards.all) or self.report.last_run is None:
            self.metrics.refresh_last_success.set(self.now())
