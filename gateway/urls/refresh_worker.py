"""The worker that renews presigned URLs before they end."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.metrics.collectors import Metrics
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.settings import UrlPrerefreshSettings
from gateway.urls.refresh_batch import RefreshBatch

logger = logging.getLogger(__name__)

_LOOK_EVERY = 1.0
_PAUSE_AFTER_FAILURE = 1.0
_MOST_AT_ONCE = 100  # packing and parsing more would keep the event loop busy for more than two milliseconds


@dataclass(slots=True)
class RefreshReport:
    """Results of the worker since its start. ``last_run`` in Unix seconds, None before the first cycle ended."""

    running: bool = False
    last_run: float | None = None
    results: "Counter[str]" = field(default_factory=Counter)

    @property
    def success_count(self) -> int:
        """Return the number of URLs renewed, or found renewed."""
        return self.results["renewed"] + self.results["fresh"]

    @property
    def error_count(self) -> int:
        """Return the number of failed attempts."""
        return self.results["failed"] + self.results["dead"]


class RefreshWorker:
    """Drains the queue in cycles. A cycle begins when the next renewal is due, at most ``interval`` seconds later."""

    def __init__(
        self,
        queue: RefreshQueue,
        refresh_batch: RefreshBatch,
        metrics: Metrics,
        settings: UrlPrerefreshSettings,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._refresh_batch = refresh_batch
        self._metrics = metrics
        self._settings = settings
        self._now = now
        self.report = RefreshReport()

    def use(self, settings: UrlPrerefreshSettings) -> None:
        """Renew by these settings from now on."""
        self._settings = self._refresh_batch.settings = settings

    async def run(self) -> None:
        """Renew until cancelled. A cycle that fails is logged, and the next one follows."""
        self.report.running = True
        self._record_success()
        try:
            while True:
                await asyncio.sleep(await self._cycle())
        finally:
            self.report.running = False

    async def _cycle(self) -> float:
        """Run a cycle and wait for the next. Return how many seconds more to pause."""
        try:
            with self._metrics.refresh_cycle_duration.time():
                await self.drain_once()
            await self._until_due()
        except CacheUnavailable as error:
            logger.debug("renewals wait for redis: %s", error)
        except Exception:  # the task survives unforeseen errors; the next cycle follows
            logger.exception("refresh cycle failed")
        else:
            return 0
        return _PAUSE_AFTER_FAILURE

    async def _until_due(self) -> None:
        """Wait until a renewal is due, at most ``interval``. Other replicas may queue earlier renewals meanwhile."""
        began = self._now()
        while (remaining := began + self._settings.interval - self._now()) > 0:
            next_due = await self._observe()
            if next_due is not None:
                remaining = min(remaining, next_due - self._now())
            if remaining <= 0:
                return
            self._record_success()
            await asyncio.sleep(min(_LOOK_EVERY, remaining))

    async def drain_once(self) -> "Counter[str]":
        """Renew everything that is due now and count the results. Raises ``CacheUnavailable``."""
        total: Counter[str] = Counter()
        await self._observe()  # before the claim: a Redis that takes no writes still tells what is overdue
        while claims := await self._queue.claim(self._now(), min(self._settings.batch_size, _MOST_AT_ONCE)):
            results = await self._refresh_batch.renew(claims)
            total += results
            self.report.results += results
            await self._observe()
        self.report.last_run = self._now()
        self._record_success()
        return total

    async def _observe(self) -> float | None:
        """Set the metrics of the queue, or remove them if it cannot be read. Return when the next renewal is due."""
        metrics, now = self._metrics, self._now()
        try:
            lengths = await self._queue.lengths(now)
            next_due = await self._queue.next_due()
        except CacheUnavailable:
            for gauge in (metrics.refresh_queue_length, metrics.refresh_due, metrics.refresh_dead, metrics.refresh_lag):
                gauge.clear()
            raise
        metrics.refresh_queue_length.set(lengths.queued)
        metrics.refresh_due.set(lengths.due)
        metrics.refresh_dead.set(lengths.dead)
        # Another program may have queued for minus infinity.
        oldest = next_due if next_due is not None and math.isfinite(next_due) else now
        metrics.refresh_lag.set(max(0.0, now - oldest))
        return next_due

    def _record_success(self) -> None:
        """Record that nothing is due now. For every ``interval``, an alert limits the time since the last record."""
        self._metrics.refresh_last_success.set(self._now())
