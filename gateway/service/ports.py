"""A service on its two ports: which handlers answer which addresses."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from gateway.api.access_check import AccessCheck
from gateway.api.authentication import AdminOnly, Audited
from gateway.api.beacons import Beacons
from gateway.api.console import Console, Dependencies
from gateway.api.health import HealthCalls
from gateway.api.images import AdminImageCalls, ImageCalls
from gateway.api.json_body import Bodies
from gateway.api.links import LinkCalls
from gateway.api.metadata import Metadata
from gateway.api.nginx import AccelPrefix, NginxChanges
from gateway.api.queues import QueueCalls
from gateway.api.routes import ADMIN, AdminHandlers, PublicHandlers, add_admin_routes, add_public_routes
from gateway.api.static_files import ConsoleFiles, StaticFiles
from gateway.api.this_process import ThisProcess
from gateway.api.url_cache import CachePurges, CacheStatistics
from gateway.api.urls import CachedUrls, UrlBatches
from gateway.delivery.relay import Relay
from gateway.metrics.registry import VERSION
from gateway.net.ip_address import is_loopback
from gateway.server.connection import ADMIN_KEEPALIVE, Endpoint
from gateway.server.dispatch import Accounting, DirectHandlers, Dispatch, Handler, TracedDispatch
from gateway.server.file_limit import connection_budget
from gateway.server.host_guard import HostGuard
from gateway.server.listener import Drain, Listening, Port, listening
from gateway.service.answers import about_this, answering
from gateway.service.metrics import Metrics
from gateway.service.service import Service, open_service
from gateway.settings import Settings

logger = logging.getLogger(__name__)

_MAX_BODY = 64 * 1024  # bytes; the largest valid body names 200 images


@dataclass(frozen=True, slots=True)
class Inherited:
    """What systemd, the supervisor or ``dev`` gave: the sockets of both ports, and what the admin port says.

    Without sockets the gateway opens the ports. ``guard_admin`` restricts the application of the admin port. None:
    whoever reaches the port may use it.
    """

    public: Sequence[socket.socket] = ()
    admin: Sequence[socket.socket] = ()
    guard_admin: Callable[[web.Application], web.Application] | None = None


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
    inherited: Inherited = Inherited(),
    force_stop: asyncio.Event | None = None,
    extend: Callable[[Service, web.Application], None] | None = None,
) -> AsyncIterator[Serving]:
    """Open the service and its ports. On exit, drain for at most ``shutdown_grace`` seconds, then close everything.

    ``read_settings`` reads the settings again, for a reload. None: there is no reload. Setting ``force_stop`` ends the
    drain at once. ``extend`` may add routes to the application of the public port. Raises ``CannotListen``,
    ``PurePythonParser``, and the errors of ``open_service``.
    """
    metrics.nginx.nginx_asked.hears_all = inherited.guard_admin is None
    async with open_service(settings, metrics, read_settings) as service, answering(service):
        drain = Drain(
            service.requests.in_flight,
            service.diagnostics.health.drain,
            lambda: service.settings.value.server.shutdown_grace,
        )
        public, admin = public_port(service, inherited, extend), admin_port(service, inherited)
        async with listening(
            public, admin, settings.image_proxy.timeout, metrics.server.ports, drain, force_stop
        ) as ports:
            metrics.events.add("started", version=VERSION)
            yield Serving(service, ports)


def public_port(
    service: Service, inherited: Inherited, extend: Callable[[Service, web.Application], None] | None
) -> Port:
    """Return the port of clients, proxies and CDNs. ``extend`` may add routes to its application."""
    app, server = public_app(service), service.settings.value.server
    if extend is not None:
        extend(service, app)
    images, access = service.images, service.access
    direct = DirectHandlers(
        images.handler,
        images.url_handler,
        images.nginx_files,
        access.cors_origins,
        lambda: access.authenticator.denials_vary,
    )
    endpoint = Endpoint(
        server.host,
        server.port,
        server.keepalive_timeout,
        connection_budget(server.max_streams, service.settings.value.postgres.pool_size).public,
        "public",
        reuse_port=server.reuse_port,
        inherited=inherited.public,
    )
    return Port(app, _dispatch(service, app, direct, ""), endpoint, "server", handler_cancellation=True)


def admin_port(service: Service, inherited: Inherited) -> Port:
    """Return the port of operators and Prometheus."""
    app, admin = admin_app(service), service.settings.value.admin
    served = inherited.guard_admin(app) if inherited.guard_admin is not None else app
    if admin.token is None and not inherited.admin and not is_loopback(admin.host):
        logger.warning("the admin port is reachable from outside and admin.token is not set: admin.host=%s", admin.host)
    budget = connection_budget(service.settings.value.server.max_streams, service.settings.value.postgres.pool_size)
    endpoint = Endpoint(
        admin.host,
        admin.port,
        min(ADMIN_KEEPALIVE, service.settings.value.server.keepalive_timeout),
        budget.admin,
        "admin",
        closes_idle=True,
        inherited=inherited.admin,
    )
    return Port(served, _dispatch(service, app, None, ADMIN), endpoint, "admin")


def public_app(service: Service) -> web.Application:
    """Return the routes of the public port."""
    app = web.Application(client_max_size=_MAX_BODY)
    add_public_routes(app, _public_handlers(service), _audited(service))
    return app


def admin_app(service: Service) -> web.Application:
    """Return the routes of the admin port."""
    host_guard = HostGuard(service.settings.value.admin.names)
    app = web.Application(client_max_size=_MAX_BODY, middlewares=[host_guard.middleware()])
    admin_only = AdminOnly(service.access.admin_guard, service.access.client_address)
    add_admin_routes(app, _admin_handlers(service), admin_only, _audited(service))
    return app


def _audited(service: Service) -> Audited:
    return Audited(service.requests.audit, service.access.client_address)


def _dispatch(
    service: Service, app: web.Application, direct: DirectHandlers | None, route_prefix: str
) -> Callable[[Handler], Dispatch]:
    """Return what makes the handler of all requests.

    ``direct`` is None for the admin port, whose requests are counted separately and have neither spans nor pictures.
    """
    requests = service.requests
    accounting = Accounting(
        service.metrics.server,
        service.access.client_address,
        requests.request_log,
        route_prefix,
        service.canary.mark.is_on if service.canary is not None and not route_prefix else None,
    )
    fallback = requests.fallback if direct is not None else None
    if direct is None or requests.tracing is None:
        return lambda handler: Dispatch(handler, requests.in_flight, accounting, direct, fallback)
    templates = {resource.name: resource.canonical for resource in app.router.resources() if resource.name}
    spans = requests.tracing
    return lambda handler: TracedDispatch(handler, requests.in_flight, accounting, direct, fallback, spans, templates)


def _public_handlers(service: Service) -> PublicHandlers:
    metrics, access, images, live = service.metrics, service.access, service.images, service.settings
    image_proxy, renditions, bodies = live.value.image_proxy, service.signing.renditions, _bodies(service)
    lookup = images.lookup
    metadata = Metadata(lookup, access.client_address, service.images.metadata, renditions)
    return PublicHandlers(
        images=ImageCalls(images.handler, images.url_handler, lookup, _cached_urls(service)),
        links=_links(service),
        metadata=metadata,
        batches=UrlBatches(lookup, service.urls.usage, service.signing.public_urls, metadata, bodies),
        beacons=Beacons(metrics.beacons, access.client_address, bodies),
        access_check=AccessCheck(
            lookup, images.variant_requests, renditions, images.decisions, metrics.access.access_checks
        ),
        static_files=StaticFiles(
            renditions, live.map(lambda settings: settings.image_proxy), makes_links=access.links is not None
        ),
        health=HealthCalls(service.diagnostics.health),
        nginx_changes=NginxChanges(service.changes.nginx_list, metrics.nginx),
        accel_prefix=(
            AccelPrefix(image_proxy.accel_prefix, images.nginx_files) if image_proxy.delivery == "accel" else None
        ),
    )


def _admin_handlers(service: Service) -> AdminHandlers:
    metrics, urls, redis, bodies = service.metrics, service.urls, service.stores.redis, _bodies(service)
    now, diagnostics = service.signing.clock.now, service.diagnostics
    return AdminHandlers(
        process=ThisProcess(
            metrics.registry,
            metrics.counted,
            metrics.nginx.nginx_asked,
            service.reloader,
            service.requests.debug_log,
            bodies,
            partial(about_this, service),
        ),
        console=_console(service),
        console_files=ConsoleFiles(),
        statistics=(
            CacheStatistics(
                redis.usage,
                redis.queue,
                metrics.urls.lookups,
                service.refresh,
                service.settings.map(lambda settings: settings.url_prerefresh),
                redis.daily,
                now,
            )
            if redis is not None
            else None
        ),
        queues=(
            QueueCalls(redis.queue, service.purges.queue if service.purges is not None else None, now, bodies)
            if redis is not None
            else None
        ),
        purges=CachePurges(urls.invalidation, bodies),
        nginx_changes=NginxChanges(service.changes.nginx_list, metrics.nginx),
        images=AdminImageCalls(
            urls.resolver,
            _cached_urls(service),
            service.images.source,
            Relay(metrics.origin.sent_bytes),
            diagnostics.explainer,
            metrics.server.recent_errors,
        ),
        links=_links(service),
        health=HealthCalls(diagnostics.health, gives_reasons=True),
    )


def _console(service: Service) -> Console:
    metrics, signing, redis, diagnostics = service.metrics, service.signing, service.stores.redis, service.diagnostics
    return Console(
        Dependencies(
            diagnostics.health,
            signing.clock,
            signing.credentials,
            diagnostics.trigger_watch if service.settings.value.postgres.listen else None,
            metrics.canary,
            metrics.nginx.nginx_asked,
        ),
        diagnostics.replica,
        redis.queue if redis is not None else None,
        metrics.urls.refresh_lag,
        metrics.server.recent_errors,
        service.access.admin_guard,
        service.requests.debug_log,
    )


def _bodies(service: Service) -> Bodies:
    return Bodies(service.settings.value.server.keepalive_timeout)


def _cached_urls(service: Service) -> CachedUrls:
    urls, redis = service.urls, service.stores.redis
    queue = redis.queue if redis is not None else None
    return CachedUrls(urls.usage, queue, service.images.refresh, service.signing.public_urls, urls.invalidation)


def _links(service: Service) -> LinkCalls:
    access, urls = service.access, service.urls
    return LinkCalls(
        access.links,
        service.images.lookup,
        _bodies(service),
        service.stores.catalog,
        urls.resolver,
        urls.invalidation,
    )
