"""Liveness and readiness."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.api.json_responses import json_response
from gateway.monitoring.health import Health, Readiness
from gateway.process.log_format import redact


@dataclass(frozen=True, slots=True)
class HealthCalls:
    """Handlers for probes of load balancers and service managers.

    gives_reasons: whether ``readyz`` also says why a dependency is not ``ok``. For operators, since it names addresses.
    """

    health: Health
    gives_reasons: bool = False

    async def healthz(self, _: web.Request) -> web.Response:
        """Return 200 as long as the event loop runs."""
        return json_response(200, {"status": "alive"})

    async def readyz(self, _: web.Request) -> web.Response:
        """Return 503 only if no image can be served or the gateway is draining."""
        report = await self.health.report()
        body: dict[str, Any] = {"status": report.status, "checks": dict(report.checks)}
        if self.gives_reasons:
            body["reasons"] = {name: redact(reason) for name, reason in report.reasons.items()}
        return json_response(503 if report.status is Readiness.NOT_READY else 200, body)
