"""Records a point every five seconds, and publishes it for the consoles of other replicas."""

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace

from gateway.metrics.events import EventLog
from gateway.metrics.history import INTERVAL, History
from gateway.metrics.registry import OptionalGauge, gauge_value
from gateway.monitoring.metrics import MonitoringMetrics
from gateway.monitoring.this_replica import ThisReplica
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.replica_store import ReplicaStore

logger = logging.getLogger(__name__)


class HistoryRecorder:
    """Adds points to the history.

    store: None without Redis.
    dead_lists: the lengths of the lists of what was given up, by the name of the event when one grows.
    """

    def __init__(
        self,
        history: History,
        replica: ThisReplica,
        store: ReplicaStore | None,
        events: EventLog,
        dead_lists: Mapping[str, OptionalGauge],
        metrics: MonitoringMetrics,
    ) -> None:
        self._history = history
        self._replica = replica
        self._store = store
        self._events = events
        self._dead_lists = dead_lists
        self._dead: dict[str, float] = {}
        self._background_errors = metrics.background_errors.labels(task="history")

    async def run(self) -> None:
        """Record until cancelled."""
        wait = INTERVAL
        while True:
            await asyncio.sleep(wait)
            started = time.monotonic()
            try:
                await self.once()
            except Exception:  # otherwise the charts would end
                self._background_errors.inc()
                logger.exception("recording a point failed")
            wait = max(0.0, INTERVAL - (time.monotonic() - started))

    async def once(self) -> None:
        """Record a point, and publish what this replica does.

        That a replica drains is no fault for the consoles of others: each restart of a replica would alarm them.
        """
        self._history.record(time.time())
        self._compare_dead_lists()
        point = await self._replica.look()
        if self._store is None:
            return
        symptoms = tuple(symptom for symptom in point.symptoms if symptom.name != "draining")
        try:
            await self._store.publish(replace(point, symptoms=symptoms))
        except CacheUnavailable as error:
            logger.debug("point not published: %s", error)

    def _compare_dead_lists(self) -> None:
        """Note an event if entries have left a dead list: an operator may have released them by any tool."""
        for event, gauge in self._dead_lists.items():
            if math.isnan(dead := gauge_value(gauge)):
                continue  # Redis does not answer
            if (left := self._dead.get(event, 0.0) - dead) > 0:
                self._events.add(event, count=int(left))
            self._dead[event] = dead

    async def withdraw(self) -> None:
        """Remove what was published: this replica stops."""
        if self._store is None:
            return
        try:
            await self._store.withdraw()
        except CacheUnavailable as error:
            logger.debug("point not removed: %s", error)
