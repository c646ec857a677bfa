"""Liveness and readiness."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.api.app_keys import HEALTH
from gateway.api.json_responses import json_text
from gateway.monitoring.health import Readiness

_HEADERS = {"Cache-Control": "no-store"}


async def healthz(request: web.Request) -> web.Response:
    """Return 200 as long as the event loop runs."""
    del request
    return _json(200, {"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """Return 503 only if no image can be served or the gateway is draining."""
    report = await request.app[HEALTH].report()
    status = 503 if report.status is Readiness.NOT_READY else 200
    return _json(status, {"status": report.status.value, "checks": dict(report.checks)})


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.Response(status=status, body=json_text(body), content_type="application/json", headers=_HEADERS)
