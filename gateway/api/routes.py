"""The routes of both ports."""

from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.api.access_check import AccessCheck, ignore_expectation
from gateway.api.authentication import AdminOnly, Audited
from gateway.api.beacons import Beacons
from gateway.api.console import Console
from gateway.api.images import AdminImageCalls, ImageCalls
from gateway.api.links import LinkCalls
from gateway.api.metadata import Metadata
from gateway.api.nginx import AccelPrefix, NginxListHandler
from gateway.api.queues import QueueCalls
from gateway.api.static_files import StaticFiles, add_console_routes, openapi
from gateway.api.this_process import HealthCalls, ThisProcess
from gateway.api.url_cache import CachePurges, CacheStatistics
from gateway.api.urls import UrlBatches
from gateway.errors import RouteNotFound
from gateway.metrics.history import BYTES_ROUTES

# The prefix of the admin port's route names in metrics.
ADMIN: Final = "admin:"
# The names of the routes that serve one image.
IMAGE_ROUTES: Final = frozenset({*BYTES_ROUTES, "url", "refresh", "status", "link", "links", "meta", "access"})
# The handlers validate ids, so that an invalid one is a 400 instead of a 404.
_ID = "{image_id}"

_CORS_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, "
        "Range, X-Request-Id"
    ),
    "Access-Control-Max-Age": "86400",
}


@dataclass(frozen=True, slots=True)
class PublicHandlers:
    """The handlers of the public port, for clients, proxies and CDNs.

    links: None without ``access.signed_links``.
    accel_prefix: None unless nginx sends the bytes of images.
    """

    images: ImageCalls
    links: LinkCalls | None
    metadata: Metadata
    batches: UrlBatches
    beacons: Beacons
    access_check: AccessCheck
    static_files: StaticFiles
    health: HealthCalls
    nginx_changes: NginxListHandler
    accel_prefix: AccelPrefix | None


@dataclass(frozen=True, slots=True)
class AdminHandlers:
    """The handlers of the admin port, for operators and Prometheus. ``statistics``, ``queues``: None without Redis."""

    process: ThisProcess
    console: Console
    statistics: CacheStatistics | None
    queues: QueueCalls | None
    purges: CachePurges
    nginx_changes: NginxListHandler
    images: AdminImageCalls
    links: LinkCalls | None
    health: HealthCalls


def add_public_routes(app: web.Application, handlers: PublicHandlers, audited: Audited) -> None:
    add, images, links = app.router, handlers.images, handlers.links
    add.add_get(f"/api/v1/images/{_ID}/proxy", images.proxy, name="proxy")
    add.add_get(f"/i/{_ID}", images.proxy, name="short")
    add.add_get("/a/{alias:(?s:.*)}", images.alias, name="alias")
    add.add_get(f"/api/v1/images/{_ID}/url", images.url, name="url", allow_head=False)
    add.add_post(f"/api/v1/images/{_ID}/url/refresh", images.refresh, name="refresh")
    add.add_get(f"/api/v1/images/{_ID}/status", images.status, name="status", allow_head=False)
    add.add_post(f"/api/v1/images/{_ID}/link", links.make if links else _no_links, name="link")
    kill = audited(links.kill if links else _no_links, "kill_links", by_admin=False)
    add.add_delete(f"/api/v1/images/{_ID}/links", kill, name="links")
    add.add_get(f"/api/v1/images/{_ID}/meta", handlers.metadata.meta, name="meta", allow_head=False)
    add.add_post("/api/v1/images/urls", handlers.batches.urls, name="urls")
    add.add_post("/api/v1/monitoring/beacons", handlers.beacons.receive, name="beacons")
    add.add_post("/api/v1/images/links", links.make_many if links else _no_links, name="make_links")
    # Any text as the id: no request of this form may be a 404.
    any_id, access = "/api/v1/images/{image_id:(?s:.*)}/access", handlers.access_check.access
    add.add_get(any_id, access, name="access", expect_handler=ignore_expectation)
    # The routes so far; the following ones are for tools, not for pages of other sites.
    for existing in list(add.resources()):
        if isinstance(existing, web.Resource):
            existing.add_route(hdrs.METH_OPTIONS, preflight)
    if handlers.accel_prefix is not None:
        below = handlers.accel_prefix.prefix + "{version:(?s:.*)}"
        add.add_route(hdrs.METH_ANY, below, handlers.accel_prefix.refuse, name="accel")
    add.add_get("/api/v1/changes", handlers.nginx_changes.refuse, name="changes", allow_head=False)
    add.add_get("/openapi.json", openapi, name="openapi", allow_head=False)
    handlers.static_files.add_routes(app)
    add.add_get("/healthz", handlers.health.healthz, name="healthz")
    add.add_get("/readyz", handlers.health.readyz, name="readyz")


def add_admin_routes(app: web.Application, handlers: AdminHandlers, admin_only: AdminOnly, audited: Audited) -> None:
    add, process, images = app.router, handlers.process, handlers.images
    statistics, queues, links = handlers.statistics, handlers.queues, handlers.links
    add.add_get("/metrics", process.metrics, name="metrics")
    add.add_get("/api/v1/monitoring/stats", statistics.stats if statistics else _no_redis, name="stats")
    daily_stats = statistics.daily_stats if statistics else _no_redis
    add.add_get("/api/v1/monitoring/stats/daily", daily_stats, name="daily_stats")
    add.add_get("/api/v1/monitoring/queue", queues.queue if queues else _no_redis, name="queue")
    add.add_get("/api/v1/changes", handlers.nginx_changes.changes, name="changes", allow_head=False)
    add_console_routes(app)

    def guarded(handler: Handler, action: str) -> Handler:
        return admin_only(audited(handler, action))

    add.add_get("/api/v1/monitoring/console", handlers.console.console, name="console", allow_head=False)
    add.add_get("/api/v1/monitoring/totals", process.totals, name="totals", allow_head=False)
    add.add_get("/api/v1/monitoring/settings", process.configuration, name="settings", allow_head=False)
    add.add_get("/api/v1/monitoring/running", process.running, name="running", allow_head=False)
    add.add_get(f"/api/v1/monitoring/running/{_ID}", process.running, name="holds", allow_head=False)
    add.add_post("/api/v1/monitoring/debug", guarded(process.debug, "debug"), name="debug")
    add.add_get(f"/api/v1/monitoring/explain/{_ID}", guarded(images.explain, "view"), name="explain", allow_head=False)
    add.add_get(f"/api/v1/monitoring/preview/{_ID}", guarded(images.preview, "view"), name="preview", allow_head=False)
    add.add_post(f"/api/v1/images/{_ID}/url/refresh", guarded(images.refresh, "refresh"), name="refresh")
    add.add_get(f"/api/v1/images/{_ID}/status", guarded(images.status, "view"), name="status", allow_head=False)
    kill = guarded(links.kill_of_any if links else _no_links, "kill_links")
    add.add_delete(f"/api/v1/images/{_ID}/links", kill, name="links")
    requeue = guarded(queues.requeue if queues else _no_redis, "requeue")
    add.add_post("/api/v1/monitoring/queue/requeue", requeue, name="requeue")
    add.add_post("/api/v1/config/reload", guarded(process.reload, "reload"), name="reload")
    add.add_post("/api/v1/cache/purge", guarded(handlers.purges.purge, "purge"), name="purge")
    # A part of a purge, which the parent of workers asks for.
    add.add_post("/api/v1/cache/drop", admin_only(handlers.purges.drop), name="drop")
    add.add_get("/healthz", handlers.health.healthz, name="healthz")
    add.add_get("/readyz", handlers.health.readyz, name="readyz")


async def _no_redis(_: web.Request) -> web.Response:
    """Answer as if the address did not exist, as the next function does."""
    raise RouteNotFound("url_cache.enabled is off")


async def _no_links(_: web.Request) -> web.Response:
    raise RouteNotFound("signed_links is not configured")


async def preflight(request: web.Request) -> web.Response:
    """Allow a page of another site to make its request (Fetch standard, CORS preflight).

    The page may send a token of its own. Browsers send cookies only for pages of ``server.cors_origins``.
    """
    resource = request.match_info.route.resource
    assert resource is not None, "preflight is a handler of resources"  # noqa: S101
    allowed = ", ".join(sorted(route.method for route in resource))
    headers = {**_CORS_PREFLIGHT, "Access-Control-Allow-Methods": allowed, "Allow": allowed}
    return web.Response(status=204, headers=headers)
