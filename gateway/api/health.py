"""Alive, and ready."""

from aiohttp import web

from gateway.api.keys import HEALTH
from gateway.ops.health import Readiness

_HEADERS = {"Cache-Control": "no-store"}


async def healthz(request: web.Request) -> web.Response:
    """200 as long as the loop turns."""
    del request
    return web.json_response({"status": "alive"}, headers=_HEADERS)


async def readyz(request: web.Request) -> web.Response:
    """503 only when nothing can be served or the gateway is draining."""
    report = await request.app[HEALTH].report()
    return web.json_response(
        {"status": report.status.value, "checks": dict(report.checks)},
        status=503 if report.status is Readiness.NOT_READY else 200,
        headers=_HEADERS,
    )
