"""Liveness and readiness."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.api.json_responses import json_text
from gateway.monitoring.health import Health, Readiness, Report
from gateway.process.log_format import redact

_HEADERS = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class HealthCalls:
    """Handlers for probes of load balancers and service managers."""

    health: Health

    async def healthz(self, request: web.Request) -> web.Response:
        """Return 200 as long as the event loop runs."""
        del request
        return _json(200, {"status": "alive"})

    async def readyz(self, _: web.Request) -> web.Response:
        """Return 503 only if no image can be served or the gateway is draining."""
        return _readiness(await self.health.report(), {})

    async def readyz_with_reasons(self, _: web.Request) -> web.Response:
        """Return what ``readyz`` does, and why a dependency is not ``ok``: for operators, since it names addresses."""
        report = await self.health.report()
        return _readiness(report, {"reasons": {name: redact(reason) for name, reason in report.reasons.items()}})


def _readiness(report: Report, more: Mapping[str, Any]) -> web.Response:
    status = 503 if report.status is Readiness.NOT_READY else 200
    return _json(status, {"status": report.status, "checks": dict(report.checks), **more})


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.Response(status=status, body=json_text(body), content_type="application/json", headers=_HEADERS)
