"""A service on its two ports."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from gateway.metrics.registry import VERSION
from gateway.server.listener import Drain, Listening, listening
from gateway.service.metrics import Metrics
from gateway.service.ports import Inherited, admin_port, public_port
from gateway.service.service import Service, open_service
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Serving:
    """A running service, and the URLs of its ports."""

    service: Service
    ports: Listening


@asynccontextmanager
async def serve(
    settings: Settings,
    metrics: Metrics,
    read_settings: Callable[[], Settings] | None = None,
    *,
    inherited: Inherited = Inherited(),  # noqa: B008 - it is immutable
    force_stop: asyncio.Event | None = None,
    extend: Callable[[Service, web.Application], None] | None = None,
) -> AsyncIterator[Serving]:
    """Open the service and its ports. On exit, drain for at most ``shutdown_grace`` seconds, then close everything.

    ``read_settings`` reads the settings again, for a reload. None: there is no reload. Setting ``force_stop`` ends the
    drain at once. ``extend`` may add routes to the application of the public port. Raises ``CannotListen``,
    ``PurePythonParser``, and the errors of ``open_service``.
    """
    metrics.nginx.nginx_asked.hears_all = inherited.guard_admin is None
    async with open_service(settings, metrics, read_settings) as service:
        added = None if extend is None else lambda app: extend(service, app)
        drain = Drain(
            service.requests.in_flight,
            service.diagnostics.health.drain,
            lambda: service.settings.value.server.shutdown_grace,
        )
        public, admin = public_port(service, inherited, added), admin_port(service, inherited)
        async with listening(
            public, admin, settings.image_proxy.timeout, metrics.server.ports, drain, force_stop
        ) as ports:
            metrics.events.add("started", version=VERSION)
            yield Serving(service, ports)
