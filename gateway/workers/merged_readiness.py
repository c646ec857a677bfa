"""The readiness of all workers as one answer.

A worker's own answer takes two seconds while a dependency does not answer, and a probe may allow less. So an answer
that takes longer than a second counts for the next probe, and the last answer of that worker counts meanwhile. If that
was ``ready``, something has begun to take long since: the worker is degraded, and the probe waits longer to say what
has. It also waits longer if no answer of a worker counts yet: it would report a degraded gateway as not ready.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field, ValidationError

from gateway.workers.worker import Worker
from gateway.workers.worker_calls import WorkerCalls

_WAIT: Final = 1.0  # seconds for the answers of all workers
_FIRST_WAIT: Final = (
    1.5  # seconds more for a worker of which no answer or `ready` counts; a probe may allow three in all
)
_REMEMBERED: Final = 30.0  # seconds that an answer counts while the next one does not come
NOT_READY: Final = "not_ready"
DEGRADED: Final = "degraded"
READY: Final = "ready"
_ORDER: Final = (NOT_READY, DEGRADED, READY)
STATES: Final = ("ok", "degraded", "down")


class WorkerReport(BaseModel):
    """A worker's answer to ``/readyz``, received at ``at`` (monotonic seconds)."""

    status: Literal["not_ready", "degraded", "ready"]
    checks: dict[str, str]
    reasons: dict[str, str] = {}
    findings: list[dict[str, Any]] = []
    at: float = Field(default_factory=time.monotonic)


class WorkerReports:
    """Asks workers whether they are ready, and keeps the latest report of each."""

    def __init__(self, calls: WorkerCalls) -> None:
        self._calls = calls
        self._asking: dict[Worker, asyncio.Task[None]] = {}
        self._latest: WeakKeyDictionary[Worker, WorkerReport] = WeakKeyDictionary()

    async def read(self, workers: Sequence[Worker]) -> dict[Worker, WorkerReport | None]:
        """Ask the workers, and return the report of each. None for a worker without a report in time."""
        for worker in set(workers) - self._asking.keys():
            self._asking[worker] = asyncio.create_task(self._ask(worker), name=f"readiness-of-worker-{worker.number}")
        asking = [self._asking[worker] for worker in workers]
        if asking:
            await asyncio.wait(asking, timeout=_WAIT)
        # Of a worker that was ready, the answer that comes late says what has begun to take long.
        awaited = [task for worker, task in zip(workers, asking, strict=True) if not self._is_known_to_fail(worker)]
        if any(not task.done() for task in awaited):
            await asyncio.wait(awaited, timeout=_FIRST_WAIT)
        reports = {worker: self._report_of(worker) for worker in workers}
        return {
            worker: report.model_copy(update={"status": DEGRADED})
            if report is not None and report.status == READY and not task.done()
            else report
            for (worker, report), task in zip(reports.items(), asking, strict=True)
        }

    async def close(self) -> None:
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _is_known_to_fail(self, worker: Worker) -> bool:
        report = self._report_of(worker)
        return report is not None and report.status != READY

    def _report_of(self, worker: Worker) -> WorkerReport | None:
        """Return the latest report of the worker if it still counts."""
        report = self._latest.get(worker)
        return report if report is not None and report.at > time.monotonic() - _REMEMBERED else None

    async def _ask(self, worker: Worker) -> None:
        try:
            answer = (await self._calls.get([worker], "/readyz"))[worker]
            self._latest.pop(worker, None)
            if answer is not None:
                with suppress(ValidationError):  # an error, or the answer of another version
                    self._latest[worker] = WorkerReport.model_validate_json(answer.body)
        finally:
            del self._asking[worker]


def merged(
    reports: Mapping[Worker, WorkerReport | None],
    numbers: Iterable[int],
    own: Sequence[dict[str, Any]] = (),
    *,
    is_draining: bool,
) -> Mapping[str, Any]:
    """Return the body of ``/readyz`` for the workers with these ``numbers``.

    A gateway that drains, and a worker without a report, are not ready. ``checks`` has the worst state of each
    dependency, and ``reasons`` says why it is not ``ok``. ``findings`` has those of the supervisor (``own``), and each
    finding of a worker once.
    """
    workers = {str(number): NOT_READY for number in numbers}
    checks: dict[str, str] = {}
    reasons: dict[str, str] = {}
    findings: dict[tuple[Any, Any], dict[str, Any]] = {}
    for worker, report in reports.items():
        if report is None:
            continue
        workers[str(worker.number)] = report.status
        findings = {(finding.get("finding"), finding.get("where")): finding for finding in report.findings} | findings
        for name, found in report.checks.items():
            state = found if found in STATES else STATES[-1]
            if name not in checks or STATES.index(state) > STATES.index(checks[name]):
                checks[name] = state
                reasons |= {name: report.reasons[name]} if name in report.reasons else {}
    status = NOT_READY if is_draining else overall(workers.values())
    told = [*own, *findings.values()]
    return {"status": status, "checks": checks, "reasons": reasons, "findings": told, "workers": workers}


def overall(statuses: Collection[str]) -> str:
    """Return ``ready`` if every worker is ready, ``not_ready`` if every worker is ``not_ready``, else ``degraded``."""
    best = max(statuses, key=_ORDER.index, default=NOT_READY)
    return best if best == NOT_READY or set(statuses) == {best} else "degraded"
