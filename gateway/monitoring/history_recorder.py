"""Records a point every five seconds, and publishes it for the consoles of other replicas."""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable

from gateway.metrics.collectors import Metrics
from gateway.metrics.history import INTERVAL, History, Point
from gateway.metrics.image_requests import ABORTED
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.replica_store import ReplicaPoint, ReplicaStore

logger = logging.getLogger(__name__)


def failed_requests(point: Point) -> int:
    """Return the number of requests for images that ended with a 5xx or an aborted transfer."""
    return sum(
        count for name, count in point.counts.items() if name.startswith("status 5") or name == f"status {ABORTED}"
    )


def all_requests(point: Point) -> int:
    """Return the number of requests for images."""
    return sum(count for name, count in point.counts.items() if name.startswith("status "))


class HistoryRecorder:
    """``store`` is None without Redis."""

    def __init__(
        self,
        history: History,
        store: ReplicaStore | None,
        metrics: Metrics,
        *,
        interval: float = INTERVAL,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._history = history
        self._store = store
        self._background_errors = metrics.background_errors.labels(task="history")
        self._interval = interval
        self._now = now
        # Two processes on one host, or containers that all call their process 1, are different replicas.
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"

    async def run(self) -> None:
        """Record until cancelled."""
        wait = self._interval
        while True:
            await asyncio.sleep(wait)
            started = time.monotonic()
            try:
                await self.once()
            except Exception:  # otherwise the charts would end
                self._background_errors.inc()
                logger.exception("recording a point failed")
            wait = max(0.0, self._interval - (time.monotonic() - started))

    async def once(self) -> None:
        """Record one point, and publish it."""
        point = self._history.record(self._now())
        if self._store is None:
            return
        span = max(point.span, 0.001)
        published = ReplicaPoint(
            self._name, point.at, round(all_requests(point) / span, 2), round(failed_requests(point) / span, 2)
        )
        try:
            await self._store.publish(published)
        except CacheUnavailable as error:
            logger.debug("point not published: %s", error)
