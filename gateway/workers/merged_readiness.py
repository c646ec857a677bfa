"""The readiness of all workers as one answer.

A worker's own answer takes two seconds while a dependency does not answer, and a probe may allow three. If a worker
does not answer until then, its last answer counts. If that was ``ready``, something has begun to take long since: the
worker is degraded.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field, ValidationError

from gateway.workers.worker import Worker
from gateway.workers.worker_calls import WorkerCalls

_WAIT: Final = 2.4  # seconds for the answers of all workers
_REMEMBERED: Final = 30.0  # seconds that an answer counts while the next one does not come
_STATES: Final = ("ok", "degraded", "down")  # the worst is the last


class WorkerReport(BaseModel):
    """A worker's answer to ``/readyz``, received at ``at`` (monotonic seconds)."""

    status: Literal["ready", "degraded", "not_ready"]
    checks: dict[str, str]
    reasons: dict[str, str] = {}
    findings: list[dict[str, Any]] = []
    at: float = Field(default_factory=time.monotonic)


class WorkerReports:
    """Asks workers whether they are ready, and keeps the latest report of each."""

    def __init__(self, calls: WorkerCalls) -> None:
        self._calls = calls
        self._latest: WeakKeyDictionary[Worker, WorkerReport] = WeakKeyDictionary()

    async def read(self, workers: Sequence[Worker]) -> dict[Worker, WorkerReport | None]:
        """Ask the workers, and return the report of each. None for a worker without a report that counts."""
        reports: dict[Worker, WorkerReport | None] = {}
        for worker, answer in (await self._calls.get(workers, "/readyz", _WAIT)).items():
            if answer is not None:
                self._latest.pop(worker, None)
                with suppress(ValidationError):  # an error, or the answer of another version
                    self._latest[worker] = WorkerReport.model_validate_json(answer.body)
            report = self._latest.get(worker)
            if report is not None and report.at < time.monotonic() - _REMEMBERED:
                report = None
            elif report is not None and answer is None and report.status == "ready":
                report = report.model_copy(update={"status": "degraded"})
            reports[worker] = report
        return reports


def merged(
    reports: Mapping[Worker, WorkerReport | None],
    numbers: Iterable[int],
    own: Sequence[dict[str, Any]] = (),
    *,
    is_draining: bool,
) -> Mapping[str, Any]:
    """Return the body of ``/readyz`` for the workers with these ``numbers``.

    ``status`` is that of all workers, or ``degraded`` if they differ. A gateway that drains, and a worker without a
    report, are not ready. ``checks`` has the worst state of each dependency, and ``reasons`` says why it is not ``ok``.
    ``findings`` has those of the supervisor (``own``), and each finding of a worker once.
    """
    workers: dict[str, str] = {str(number): "not_ready" for number in numbers}
    checks: dict[str, str] = {}
    reasons: dict[str, str] = {}
    findings: dict[tuple[Any, Any], dict[str, Any]] = {}
    for worker, report in reports.items():
        if report is None:
            continue
        workers[str(worker.number)] = report.status
        findings = {(finding.get("finding"), finding.get("where")): finding for finding in report.findings} | findings
        for name, found in report.checks.items():
            state = found if found in _STATES else _STATES[-1]
            if name not in checks or _STATES.index(state) > _STATES.index(checks[name]):
                checks[name] = state
                reasons |= {name: report.reasons[name]} if name in report.reasons else {}
    differing = set(workers.values())
    status = differing.pop() if len(differing) == 1 else "degraded"
    told = [*own, *findings.values()]
    return {
        "status": "not_ready" if is_draining or not workers else status,
        "checks": checks,
        "reasons": reasons,
        "findings": told,
        "workers": workers,
    }
