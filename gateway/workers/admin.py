"""The admin port of the supervisor: health and metrics of all workers, and all else from a worker or from all."""

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from pydantic import BaseModel

from gateway.api.json_bodies import failure, json_response, json_text, read_body
from gateway.delivery.request_context import RequestContext
from gateway.errors import GatewayError, NoWorker
from gateway.findings.finding import Finding, together
from gateway.metrics.events import events_in
from gateway.metrics.events import together as events_together
from gateway.metrics.findings import CurrentFindings
from gateway.metrics.history import INTERVAL
from gateway.metrics.registry import dropped_lines_counter
from gateway.process.logs import dropped_lines
from gateway.server.host_guard import HostGuard
from gateway.server.metrics import PortMetrics
from gateway.workers.changes_for_nginx import CHANGES, HURRY, ListForNginx
from gateway.workers.labelled_metrics import about_workers, labelled
from gateway.workers.merged_readiness import WorkerReports, merged
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Worker
from gateway.workers.worker_calls import Answer, WorkerCalls
from gateway.workers.workers_history import TOTALS, Totals, WorkersHistory

logger = logging.getLogger(__name__)

_MAX_BODY: Final = 64 * 1024  # bytes, as for a single process
# What changes each process, so all of them must do it.
_FOR_ALL: Final = ("/api/v1/config/reload", "/api/v1/monitoring/debug")
_CONSOLE: Final = "/api/v1/monitoring/console"
_RUNNING: Final = "/api/v1/monitoring/running"
_DROP: Final = "/api/v1/cache/drop"
_RESTARTS_IN: Final = 900.0  # seconds in which workers that end are a problem, as in the alert
_MOST_RESTARTS: Final = 2
_SUPERVISOR: Final = "parent"  # in the place of a worker's number in metrics


class Admin:
    """The admin port of the supervisor: answers operators for its workers, by asking one of them or all.

    hurry: seconds after which another worker is asked for the list of changes, too.
    """

    def __init__(self, supervisor: Supervisor, calls: WorkerCalls, hurry: float = HURRY) -> None:
        self._supervisor = supervisor
        self._calls = calls
        self.history = WorkersHistory(time.time())
        self._reports = WorkerReports(calls)
        self._own = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._own)
        dropped_lines_counter(self._own, dropped_lines)
        self._name = f"{socket.gethostname()}:{os.getpid()}"  # as in the names of replicas
        self._symptoms = CurrentFindings()
        self._own.register(self._symptoms)
        self._changes = ListForNginx(supervisor, calls, hurry)
        self.ports = PortMetrics(self._own)

    def app(self, names: Iterable[str] = ()) -> web.Application:
        """Return the application of the port, which clients may call by ``names``, too."""
        middlewares = [_with_errors, HostGuard(names).guarded, _with_body]
        app = web.Application(client_max_size=_MAX_BODY, middlewares=middlewares)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get(_CONSOLE, self._console, allow_head=False)
        for path in (_RUNNING, f"{_RUNNING}/{{id}}"):
            app.router.add_get(path, self._running, allow_head=False)
        app.router.add_get(CHANGES, self._changes.answer, allow_head=False)
        for path in _FOR_ALL:
            app.router.add_post(path, self._by_all)
        app.router.add_post("/api/v1/cache/purge", self._purge)
        app.router.add_route("*", "/{path:.*}", self._by_one)
        return app

    async def record_history(self) -> None:
        """Record a point for the console's charts every five seconds, until cancelled."""
        wait = INTERVAL
        while True:
            await asyncio.sleep(wait)
            started = time.monotonic()
            for worker, answer in (await self._calls.get(self._supervisor.answering(), TOTALS)).items():
                if answer is not None and (totals := answer.data(Totals)) is not None:
                    self.history.read(worker, totals)
            self.history.record(time.time())
            self._own_symptoms()  # a problem is seen also while no console is open
            wait = max(0.0, INTERVAL - (time.monotonic() - started))

    async def _healthz(self, _: web.Request) -> web.Response:
        is_alive = self._supervisor.shows_life()
        return json_response(200 if is_alive else 503, {"status": "alive" if is_alive else "no worker shows life"})

    async def _readyz(self, _: web.Request) -> web.Response:
        reports = await self._reports.read(self._supervisor.answering())
        numbers = [slot.number for slot in self._supervisor.slots]
        own = [finding.told() for finding in self._own_symptoms()]
        body = merged(reports, numbers, own, is_draining=self._supervisor.is_draining)
        return json_response(503 if body["status"] == "not_ready" else 200, body)

    async def _metrics(self, _: web.Request) -> web.Response:
        workers = self._supervisor.answering()
        answers = (await self._calls.get(workers, "/metrics")).items()
        by_worker = {str(worker.number): each.body.decode() for worker, each in answers if each and each.status == 200}
        body = await asyncio.to_thread(self._exposition, len(workers), by_worker)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _exposition(self, answering: int, by_worker: Mapping[str, str]) -> bytes:
        own, kept = generate_latest(self._own).decode(), self._supervisor
        about = _Families(about_workers(answering, len(kept.slots), kept.restarts, kept.stuck))
        return generate_latest(about) + labelled({**by_worker, _SUPERVISOR: own}).encode()

    async def _console(self, request: web.Request) -> web.Response:
        """Return what a worker answers, with the charts and errors of all workers, and what only the supervisor sees.

        The worker shows the others as it shows any replica: as they say of themselves in Redis.
        """
        _, answer = await self._first(request, self._supervisor.answering())
        try:
            body = json.loads(answer.body) if answer.status == 200 else {}
            data = {**body["data"], **self.history.shown(int(request.query.get("since", "0")))}
            symptoms = [*together({self._name: self._own_symptoms()}), *data["symptoms"]]
            data["symptoms"] = sorted(symptoms, key=lambda symptom: bool(symptom["level"] != "bad"))
            events = zip([event.get("replica") for event in data["events"]], events_in(data["events"]), strict=True)
            data["events"] = events_together(self._supervisor.events.all(), events)
        except (ValueError, KeyError, TypeError):  # an error, or the answer of another version
            return answer.response()
        return Answer(answer.status, answer.headers, json_text({**body, "data": data})).response()

    async def _running(self, request: web.Request) -> web.Response:
        """Return the answers of all workers, and how many workers did not answer."""
        workers = self._supervisor.answering()
        answers = (await self._calls.get(workers, request.rel_url.raw_path)).values()
        refused = [answer for answer in answers if answer is not None and answer.status == 400]
        if refused:
            return refused[0].response()
        read = [answer.data(_Running) for answer in answers if answer is not None]
        found = [replica for running in read if running is not None for replica in running.replicas]
        if not found:
            raise NoWorker
        silent = max(len(workers), len(self._supervisor.slots)) - len(found)
        data = {"replicas": found, "silent": silent}
        return json_response(200, {"status": "success", "message": "ok", "data": data})

    async def _first(self, request: web.Request, workers: list[Worker]) -> tuple[Worker, Answer]:
        """Return the first worker that answers, and its answer. Raises ``NoWorker``."""
        for worker in workers:
            if (answer := await self._calls.repeat(request, worker)) is not None:
                return worker, answer
        raise NoWorker

    def _own_symptoms(self) -> Sequence[Finding]:
        found, now = list[Finding](), time.time()
        ready, configured = len(self._supervisor.answering()), len(self._supervisor.slots)
        if ready < configured:
            found.append(Finding.of("workers_missing", ready=ready, configured=configured))
        ended = self._supervisor.events.count_since("worker_ended", now - _RESTARTS_IN)
        if ended > _MOST_RESTARTS:
            found.append(Finding.of("workers_end", count=ended))
        if now - self._supervisor.stuck_at < _RESTARTS_IN:
            found.append(Finding.of("loop_stuck", count=self._supervisor.stuck))
        return self._symptoms.note(found, now)

    async def _by_all(self, request: web.Request) -> web.Response:
        """Let every worker answer, one after another. Return the first refusal, or the answer of the last worker."""
        answer: Answer | None = None
        async with aclosing(self._supervisor.in_turn()) as workers:
            async for worker in workers:
                answer = await self._calls.repeat(request, worker)
                if answer is None or answer.status >= 400:
                    break
        if answer is None:
            raise NoWorker
        return answer.response()

    async def _purge(self, request: web.Request) -> web.Response:
        """Let a worker purge, which reaches Redis, other replicas and caches in front. Let the other workers drop."""
        worker, answer = await self._first(request, self._supervisor.answering())
        if answer.status < 400:
            others = [other for other in self._supervisor.ready() if other is not worker]
            dropped = await asyncio.gather(*(self._calls.repeat(request, other, _DROP) for other in others))
            for other, answered in zip(others, dropped, strict=True):
                if answered is None:
                    logger.warning("a worker may still have purged images in memory: worker=%s", other.number)
        return answer.response()

    async def _by_one(self, request: web.Request) -> web.StreamResponse:
        """Let a worker answer, the same worker while it runs: each worker has a history of its own."""
        try:
            for worker in self._supervisor.answering():
                if (response := await self._calls.pass_on(request, worker)) is not None:
                    return response
        except (aiohttp.ClientError, TimeoutError):
            logger.warning("a worker did not answer the admin port: path=%s", request.path)
        raise NoWorker


class _Running(BaseModel):
    replicas: list[Any]


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


@web.middleware
async def _with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except GatewayError as error:
        context = RequestContext(request.headers.get("X-Request-Id"))
        response = failure(error, context.request_id)
        context.stamp(response)
        return response


@web.middleware
async def _with_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the body before the handler, which sends it to workers."""
    await read_body(request)
    return await handler(request)
