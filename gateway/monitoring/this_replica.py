"""What this process shows of itself in the consoles of all replicas."""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable

from prometheus_client.process_collector import ProcessCollector

from gateway.metrics.events import MOST_SHARED, EventLog
from gateway.metrics.history import History
from gateway.metrics.registry import VERSION
from gateway.metrics.symptom import SymptomLog
from gateway.monitoring.symptoms import CurrentSymptoms
from gateway.redis_replicas.replica_store import ReplicaPoint


class ThisReplica:
    """Describes this process.

    entry_key: returns the fingerprint of ``redis.entry_key``, None without Redis.
    streams: returns how many images are being sent.
    now: returns the time by the clock of COS, which is the same on every machine.
    """

    def __init__(
        self,
        history: History,
        symptoms: CurrentSymptoms,
        events: EventLog,
        *,
        entry_key: Callable[[], str | None],
        streams: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._history = history
        self._symptoms = symptoms
        self.events = events
        self._entry_key = entry_key
        self._streams = streams
        self._now = now
        self._started = now()
        self._log = SymptomLog()
        # How commands run beside this process: the program and its configuration. None: as image-gateway-admin.
        self.commands: tuple[str, str] | None = None
        self._process = ProcessCollector(registry=None)
        # Two processes on one host, or containers that all call their process 1, are different replicas.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"

    async def look(self) -> ReplicaPoint:
        """Return what this process does now, with the rates of the last point."""
        measured = await asyncio.to_thread(self._measure)  # it reads files of /proc
        now = self._now()
        requests, failed = 0.0, 0.0
        if points := self._history.fine()[-1:]:
            span = max(points[0].span, 0.001)
            requests, failed = points[0].requests / span, points[0].failed / span
        return ReplicaPoint(
            name=self.name,
            at=now,
            requests_per_second=round(requests, 2),
            errors_per_second=round(failed, 2),
            version=VERSION,
            entry_key=self._entry_key(),
            started=self._started,
            streams=self._streams(),
            memory_bytes=measured.get("process_resident_memory_bytes"),
            open_files=measured.get("process_open_fds"),
            symptoms=tuple(self._log.note(self._symptoms.now(), now)),
            events=tuple(self.events.all()[-MOST_SHARED:]),
        )

    def _measure(self) -> dict[str, int]:
        """Return the metrics of the process by name; empty on a system without /proc."""
        return {sample.name: int(sample.value) for metric in self._process.collect() for sample in metric.samples}
