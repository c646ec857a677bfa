"""A service on its two ports: which handlers answer which addresses."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.api.access_check import AccessCheck
from gateway.api.authentication import AdminOnly, Audited
from gateway.api.beacons import Beacons
from gateway.api.console import Console, DependencyStates
from gateway.api.images import AdminImageCalls, ImageCalls
from gateway.api.json_bodies import TIME_LIMIT
from gateway.api.links import LinkCalls
from gateway.api.metadata import Metadata
from gateway.api.nginx import AccelPrefix, NginxListHandler
from gateway.api.queues import QueueCalls
from gateway.api.routes import ADMIN, AdminHandlers, PublicHandlers, add_admin_routes, add_public_routes
from gateway.api.static_files import StaticFiles
from gateway.api.this_process import HealthCalls, ThisProcess
from gateway.api.url_cache import CachePurges, CacheStatistics
from gateway.api.urls import CachedUrls, UrlBatches
from gateway.metrics.registry import VERSION
from gateway.net.port import url_of
from gateway.server.acceptor import ADMIN_KEEPALIVE, Endpoint
from gateway.server.denial_delay import DenialDelay
from gateway.server.dispatch import Accounting, DirectHandlers, Dispatch
from gateway.server.file_limit import ADMIN_CONNECTIONS, public_connections
from gateway.server.host_guard import HostGuard, warn_if_open
from gateway.server.listener import Drain, Listening, Port, listening
from gateway.service.answers import answer_of, answering
from gateway.service.metrics import Metrics
from gateway.service.service import Service, open_service
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.explain.explanation import Explanation

_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared
_MAX_BODY = 64 * 1024  # bytes; the largest valid body names 200 images


@dataclass(frozen=True, slots=True)
class Inherited:
    """Open sockets from systemd, the supervisor or ``dev``, to listen on. Without them the gateway opens its ports."""

    public: Sequence[socket.socket] = ()
    admin: Sequence[socket.socket] = ()
    # Restricts the application of the admin port. None: every caller that reaches the port may use it.
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
    async with open_service(settings, metrics, read_settings) as service, answering(service):
        public_app, admin_app = applications(service)
        if extend is not None:
            extend(service, public_app)
        public, admin = _public_port(service, public_app, inherited), _admin_port(service, admin_app, inherited)
        live, timeout, counted = service.settings, settings.image_proxy.timeout, metrics.server.ports
        drain_health = service.diagnostics.health.drain
        drain = Drain(service.requests.in_flight, drain_health, lambda: live.value.server.shutdown_grace)
        async with listening(public, admin, timeout, counted, drain, force_stop) as ports:
            metrics.events.add("started", version=VERSION)
            yield Serving(service, ports)


def _public_port(service: Service, app: web.Application, inherited: Inherited) -> Port:
    """Return the port of clients, proxies and CDNs."""
    settings, images, access, requests = service.settings.value, service.images, service.access, service.requests
    server = settings.server
    log, spans = requests.request_log, requests.tracing
    accounting = Accounting(service.metrics.server, access.client_address, log, canary=service.canary, spans=spans)
    files, origins, fallback = images.nginx_files, access.cors_origins, requests.fallback
    direct = DirectHandlers(images.handler, images.url_handler, files, origins, access.authenticator, fallback)
    endpoint = Endpoint(
        server.host,
        server.port,
        server.keepalive_timeout,
        public_connections(server.max_streams, settings.postgres.pool_size),
        "server",
        "public",
        reuse_port=server.reuse_port,
        inherited=inherited.public,
    )
    delay = DenialDelay(stores=service.diagnostics.health.seconds_of_stores)
    return Port(app, Dispatch(requests.in_flight, accounting, direct, delay), endpoint, handler_cancellation=True)


def _admin_port(service: Service, app: web.Application, inherited: Inherited) -> Port:
    """Return the port of operators and Prometheus, whose requests are counted apart and have no spans."""
    settings, requests = service.settings.value, service.requests
    server, admin = settings.server, settings.admin
    accounting = Accounting(service.metrics.server, service.access.client_address, requests.request_log, ADMIN)
    if not inherited.admin:
        warn_if_open(admin)
    endpoint = Endpoint(
        admin.host,
        admin.port,
        min(ADMIN_KEEPALIVE, server.keepalive_timeout),
        ADMIN_CONNECTIONS,
        "admin",
        "admin",
        closes_idle=True,
        inherited=inherited.admin,
    )
    served = inherited.guard_admin(app) if inherited.guard_admin is not None else app
    return Port(served, Dispatch(requests.in_flight, accounting), endpoint)


def applications(service: Service) -> tuple[web.Application, web.Application]:
    """Return the routes of the public port and of the admin port."""
    host_guard = HostGuard(service.settings.value.admin.names)
    public = web.Application(client_max_size=_MAX_BODY)
    admin = web.Application(client_max_size=_MAX_BODY, middlewares=[host_guard.guarded])
    public[TIME_LIMIT] = admin[TIME_LIMIT] = service.settings.value.server.keepalive_timeout
    public_handlers, admin_handlers = _handlers(service)
    address = service.access.client_address
    audited = Audited(service.requests.audit, address)
    add_public_routes(public, public_handlers, audited)
    add_admin_routes(admin, admin_handlers, AdminOnly(service.access.admin_guard, address), audited)
    return public, admin


def _handlers(service: Service) -> tuple[PublicHandlers, AdminHandlers]:
    metrics, access, live, urls = service.metrics, service.access, service.settings, service.urls
    signing, images, diagnostics, redis = service.signing, service.images, service.diagnostics, service.stores.redis
    image_proxy, renditions, now = live.value.image_proxy, signing.renditions, signing.clock.now
    lookup, queue = images.lookup, redis.queue if redis is not None else None
    cached_urls = CachedUrls(urls.usage, queue, images.refresh, signing.public_urls, urls.invalidation)
    links = None
    if access.links is not None:
        links = LinkCalls(access.links, lookup, service.stores.catalog, urls.resolver, urls.invalidation)
    metadata = Metadata(lookup, access.client_address, images.metadata, renditions)
    proxy = live.map(lambda settings: settings.image_proxy)
    nginx_changes = NginxListHandler(service.changes.nginx_list, metrics.nginx)
    accel = AccelPrefix(image_proxy.accel_prefix, images.nginx_files) if image_proxy.delivery == "accel" else None
    public = PublicHandlers(
        images=ImageCalls(images.handler, images.url_handler, lookup, cached_urls, urls.aliases),
        links=links,
        metadata=metadata,
        batches=UrlBatches(lookup, urls.usage, signing.public_urls, metadata),
        beacons=Beacons(metrics.beacons, access.client_address),
        access_check=AccessCheck(
            lookup, images.variant_requests, images.decisions, metrics.access.access_checks, urls.aliases, proxy
        ),
        static_files=StaticFiles(renditions, proxy, makes_links=access.links is not None),
        health=HealthCalls(diagnostics.health),
        nginx_changes=nginx_changes,
        accel_prefix=accel,
    )
    statistics = queues = None
    if redis is not None:
        prerefresh = live.map(lambda settings: settings.url_prerefresh)
        report = service.refresh
        statistics = CacheStatistics(redis.usage, redis.queue, metrics.urls, report, prerefresh, redis.daily, now)
        purges = service.purges.queue if service.purges is not None else None
        queues = QueueCalls(redis.queue, purges, now)
    debug_log, about = service.requests.debug_log, partial(answer_of, service)
    sent_bytes, errors = metrics.origin.sent_bytes, metrics.server.recent_errors

    async def explain(image_id: str, given: Sequence[str | None], query: Mapping[str, str]) -> "Explanation":
        from gateway.service.explain import explained

        return await explained(service, image_id, given, query)

    admin = AdminHandlers(
        process=ThisProcess(metrics.registry, metrics.counted, service.reloader, debug_log, about),
        console=_console(service),
        statistics=statistics,
        queues=queues,
        purges=CachePurges(urls.invalidation),
        nginx_changes=nginx_changes,
        images=AdminImageCalls(urls.resolver, cached_urls, images.source, sent_bytes, explain, errors),
        links=links,
        health=HealthCalls(diagnostics.health, diagnostics.replica.findings),
    )
    return public, admin


def _console(service: Service) -> Console:
    metrics, signing, redis, diagnostics = service.metrics, service.signing, service.stores.redis, service.diagnostics
    trigger = diagnostics.trigger_watch if service.settings.value.postgres.listen else None
    clock, credentials, asked = signing.clock, signing.credentials, metrics.nginx.nginx_asked
    dependencies = DependencyStates(diagnostics.health, clock, credentials, trigger, metrics.canary, asked)
    queue, lag = redis.queue if redis is not None else None, metrics.urls.refresh_lag
    errors, guard, debug_log = metrics.server.recent_errors, service.access.admin_guard, service.requests.debug_log
    admin = service.settings.value.admin
    host = "127.0.0.1" if admin.host in _EVERY_ADDRESS else admin.host
    address = url_of(host, admin.port).removeprefix("http://") if admin.port else None
    return Console(dependencies, diagnostics.replica, queue, lag, errors, guard, debug_log, address=address)
