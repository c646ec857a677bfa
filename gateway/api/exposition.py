"""``GET /metrics``."""

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Exposition:
    """Answers with the metrics of ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def exposition(self, _: web.Request) -> web.Response:
        """Return all metrics in Prometheus's text format."""
        # In a thread: the process collector reads files, and a large exposition takes milliseconds.
        body = await asyncio.to_thread(generate_latest, self._registry)
        # headers=, because content_type= refuses a type with parameters
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
