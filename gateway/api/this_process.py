"""What this process says of itself, and how operators change it: health, metrics, settings, debug log, reload."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.api.json_bodies import json_response, read_json, success
from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest
from gateway.findings.finding import Finding
from gateway.metrics.history import Counted
from gateway.monitoring.health import Health, Readiness
from gateway.process.log_format import redact
from gateway.process.logs import DebugLog
from gateway.process.reloader import Reloader
from gateway.redis_replicas.replica_questions import ReplicaAnswer


@dataclass(frozen=True, slots=True)
class ThisProcess:
    """Handlers for operators, Prometheus and the parent of workers, of this process alone: metrics, settings, reload.

    about_this: returns what this process says of itself to ``check --running``, and to ``takedown`` of an image.
    """

    registry: CollectorRegistry
    counted: Counted
    reloader: Reloader
    debug_log: DebugLog
    about_this: Callable[[str | None], Awaitable[ReplicaAnswer]]

    async def metrics(self, _: web.Request) -> web.Response:
        # In a thread: the process collector reads files, and a large exposition takes milliseconds.
        body = await asyncio.to_thread(generate_latest, self.registry)
        # headers=, because content_type= refuses a type with parameters
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def totals(self, _: web.Request) -> web.Response:
        """Return the totals of this process since its start, of which the points are made."""
        reading = self.counted.read(time.time())
        return success(
            {
                "counts": reading.counts,
                "durations": reading.durations,
                "bounds": self.counted.requests.durations.bounds,
                "errors": [asdict(error) for error in self.counted.errors.newest()],
            }
        )

    async def configuration(self, _: web.Request) -> web.Response:
        """Return the configuration in use, and the keys whose new value needs a restart. Secrets are ``**********``."""
        in_use = self.reloader.live.value.model_dump(mode="json")
        return success({"settings": in_use, "needs_restart": list(self.reloader.need_restart)})

    async def running(self, request: web.Request) -> web.Response:
        """Return what this process is: its version, program, settings, state of changes, and if it holds an image."""
        named = request.match_info.get("image_id")
        image_id = parse_image_id(named) if named is not None else None
        return success({"replicas": [(await self.about_this(image_id)).as_json()], "silent": 0})

    async def debug(self, request: web.Request) -> web.Response:
        """Turn the debug log on for ten minutes, or off: ``{"on": bool}``."""
        match await read_json(request):
            case {"on": bool(on)}:
                (self.debug_log.start if on else self.debug_log.stop)()
                return success({"debug_until": self.debug_log.until})
        raise InvalidRequest('the body must be {"on": true} or {"on": false}')

    async def reload(self, _: web.Request) -> web.Response:
        """Reload the configuration as SIGHUP does, and return the changed keys and the keys that need a restart."""
        result = await self.reloader.reload()
        keys = {"changed": list(result.changed), "needs_restart": list(result.need_restart)}
        return success(keys, "the configuration is reloaded")


@dataclass(frozen=True, slots=True)
class HealthCalls:
    """Handlers of ``healthz`` and ``readyz``, for probes of load balancers and service managers.

    findings: returns what ``readyz`` also tells operators: what is wrong, where, and what to do. It names addresses, so
        None: nothing.
    """

    health: Health
    findings: Callable[[], Sequence[Finding]] | None = None

    async def healthz(self, _: web.Request) -> web.Response:
        """Return 200 as long as the event loop runs."""
        return json_response(200, {"status": "alive"})

    async def readyz(self, _: web.Request) -> web.Response:
        """Return 503 only if no image can be served or the gateway is draining."""
        report = await self.health.report()
        body: dict[str, Any] = {"status": report.status, "checks": dict(report.checks)}
        if self.findings is not None:
            body["reasons"] = {name: redact(reason) for name, reason in report.reasons.items()}
            told = [finding.told() for finding in self.findings()]
            body["findings"] = [{**finding, "what": redact(finding["what"])} for finding in told]
        return json_response(503 if report.status is Readiness.NOT_READY else 200, body)
