"""``GET /metrics``."""

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.api.app_keys import METRICS


async def exposition(request: web.Request) -> web.Response:
    """Return all metrics in Prometheus's text format."""
    # In a thread: the process collector reads files, and a large exposition takes milliseconds.
    body = await asyncio.to_thread(generate_latest, request.app[METRICS].registry)
    # headers=, because content_type= refuses a type with parameters
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
