"""What this process shows of itself in the consoles of all replicas, recorded every five seconds."""

import asyncio
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace

from prometheus_client import Counter
from prometheus_client.process_collector import ProcessCollector

from gateway.findings.finding import Finding
from gateway.metrics.events import MOST_SHARED, EventLog
from gateway.metrics.findings import CurrentFindings
from gateway.metrics.history import INTERVAL, History
from gateway.metrics.registry import VERSION, gauge_value
from gateway.monitoring.symptoms import CurrentSymptoms
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.replica_store import ReplicaPoint, ReplicaStore

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ThisReplica:
    """Records the history of this process (a replica of the gateway), and publishes its state in Redis for the console.

    found: the current findings, which are a metric, too.
    store: has the points of all replicas, None without Redis.
    entry_key: returns the fingerprint of ``redis.entry_key``, None without Redis.
    streams: returns how many images are being sent.
    now: returns the time by the clock of COS, which is the same on every machine.
    worker: the number of this process among several workers, which its name ends with.
    """

    history: History
    symptoms: CurrentSymptoms
    events: EventLog
    found: CurrentFindings
    store: ReplicaStore | None
    _: KW_ONLY
    entry_key: Callable[[], str | None]
    streams: Callable[[], int]
    now: Callable[[], float]
    worker: InitVar[int | None] = None
    # How commands run beside this process: the program and its configuration. None: as image-gateway-admin.
    commands: tuple[str, str] | None = field(default=None, init=False)
    name: str = field(init=False)
    _started: float = field(init=False)
    _process: ProcessCollector = field(default_factory=lambda: ProcessCollector(registry=None), init=False)
    _dead: dict[str, float] = field(default_factory=dict, init=False)  # by event: the length of a dead list

    def __post_init__(self, worker: int | None) -> None:
        # Two processes on one host, or containers that all call their process 1, are different replicas.
        name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self.name = name if worker is None else f"{name}:worker-{worker}"
        self._started = self.now()

    async def look(self) -> ReplicaPoint:
        """Return what this process does now, with the rates of the last point."""
        measured = await asyncio.to_thread(self._measure)  # it reads files of /proc
        now = self.now()
        requests, failed = 0.0, 0.0
        if self.history.fine:
            point = self.history.fine[-1]
            span = max(point.span, 0.001)
            requests, failed = point.requests / span, point.failed / span
        return ReplicaPoint(
            name=self.name,
            at=now,
            requests_per_second=round(requests, 2),
            errors_per_second=round(failed, 2),
            version=VERSION,
            entry_key=self.entry_key(),
            started=self._started,
            streams=self.streams(),
            memory_bytes=measured.get("process_resident_memory_bytes"),
            open_files=measured.get("process_open_fds"),
            symptoms=tuple(replace(finding, where="", seen="") for finding in self.findings()),
            events=tuple(self.events.all()[-MOST_SHARED:]),
        )

    def findings(self) -> Sequence[Finding]:
        """Return the current findings of this process with the times since when they are seen, the worst first."""
        return self.found.note(self.symptoms.now(), self.now())

    def _measure(self) -> dict[str, int]:
        """Return the metrics of the process by name; empty on a system without /proc."""
        return {sample.name: int(sample.value) for metric in self._process.collect() for sample in metric.samples}

    async def others(self) -> list[ReplicaPoint]:
        """Return the last points of all replicas, also of this one. Empty while Redis does not answer."""
        if self.store is None:
            return []
        try:
            return await self.store.read()
        except CacheUnavailable:
            return []

    async def record(self) -> None:
        """Add a point to the history, and publish what this replica does.

        That a replica drains is no fault for the consoles of others: each restart of a replica would alarm them.
        """
        self.history.record(time.time())
        self._compare_dead_lists()
        await self.publish()

    async def publish(self) -> None:
        """Publish what this replica does, and note its findings: without Redis, too, for their metric."""
        if self.store is None:
            self.findings()
            return
        point = await self.look()
        symptoms = tuple(symptom for symptom in point.symptoms if symptom.name != "draining")
        with suppress(CacheUnavailable):
            await self.store.publish(replace(point, symptoms=symptoms))

    def _compare_dead_lists(self) -> None:
        """Note an event if entries have left a dead list: an operator may have released them by any tool."""
        gauges = self.symptoms.gauges
        for event, gauge in (("renewals_left", gauges.dead), ("purges_left", gauges.purge_dead)):
            if math.isnan(dead := gauge_value(gauge)):
                continue  # Redis does not answer
            if (left := self._dead.get(event, 0.0) - dead) > 0:
                self.events.add(event, count=int(left))
            self._dead[event] = dead

    async def withdraw(self) -> None:
        if self.store is not None:
            with suppress(CacheUnavailable):
                await self.store.withdraw()


async def keep_recording(replica: ThisReplica, background_errors: Counter) -> None:
    """Publish a point at once, so that others know of this replica. Record one every five seconds until cancelled."""
    errors, wait, act = background_errors.labels(task="history"), 0.0, replica.publish
    while True:
        await asyncio.sleep(wait)
        started = time.monotonic()
        try:
            await act()
        except Exception:  # otherwise the charts would end
            errors.inc()
            logger.exception("recording a point failed")
        wait, act = max(0.0, INTERVAL - (time.monotonic() - started)), replica.record
