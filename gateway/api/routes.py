"""The routes of both ports."""

from typing import Final

from aiohttp import hdrs, web

from gateway.api import (
    access_check,
    app_keys,
    batch,
    config_reload,
    console,
    explain_handler,
    exposition,
    health,
    images,
    link_handlers,
    meta,
    monitoring,
    preview,
)
from gateway.api.accel_prefix import AccelPrefix
from gateway.api.beacons import Beacons
from gateway.api.console_files import ConsoleFiles
from gateway.api.openapi.document import openapi
from gateway.api.static_files import StaticFiles

# The prefix of the admin port's route names in metrics.
ADMIN: Final = "admin:"
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


def add_public_routes(app: web.Application) -> None:
    """Add the routes for clients, proxies and CDNs."""
    for name, path in (("proxy", f"/api/v1/images/{_ID}/proxy"), ("short", f"/i/{_ID}")):
        resource = app.router.add_resource(path, name=name)
        resource.add_route(hdrs.METH_GET, images.proxy)
        resource.add_route(hdrs.METH_HEAD, images.proxy)
    app.router.add_get(f"/api/v1/images/{_ID}/url", images.url, name="url", allow_head=False)
    app.router.add_post(f"/api/v1/images/{_ID}/url/refresh", images.refresh, name="refresh")
    app.router.add_get(f"/api/v1/images/{_ID}/status", images.status, name="status", allow_head=False)
    app.router.add_post(f"/api/v1/images/{_ID}/link", link_handlers.make, name="link")
    app.router.add_delete(f"/api/v1/images/{_ID}/links", link_handlers.kill, name="links")
    app.router.add_get(f"/api/v1/images/{_ID}/meta", meta.meta, name="meta", allow_head=False)
    app.router.add_post("/api/v1/images/urls", batch.urls, name="urls")
    app.router.add_post("/api/v1/monitoring/beacons", Beacons().receive, name="beacons")
    app.router.add_post("/api/v1/images/links", link_handlers.make_many, name="make_links")
    # Any text as the id: no request of this form may be a 404.
    resource = app.router.add_resource("/api/v1/images/{image_id:(?s:.*)}/access", name="access")
    for method in (hdrs.METH_GET, hdrs.METH_HEAD):
        resource.add_route(method, access_check.access, expect_handler=access_check.ignore_expectation)
    # The routes so far; the following ones are for tools, not for pages of other sites.
    for existing in list(app.router.resources()):
        if isinstance(existing, web.Resource):
            existing.add_route(hdrs.METH_OPTIONS, preflight)
    image_proxy = app[app_keys.SETTINGS].image_proxy
    if image_proxy.delivery == "accel":
        accel_prefix = AccelPrefix(image_proxy.accel_prefix, app[app_keys.METRICS])
        app.router.add_route(
            hdrs.METH_ANY, image_proxy.accel_prefix + "{version:(?s:.*)}", accel_prefix.refuse, name="accel"
        )
    app.router.add_get("/openapi.json", openapi, name="openapi", allow_head=False)
    StaticFiles().add_routes(app)
    app.router.add_get("/healthz", health.healthz, name="healthz")
    app.router.add_get("/readyz", health.readyz, name="readyz")


def add_admin_routes(app: web.Application) -> None:
    """Add the routes for operators and Prometheus."""
    app.router.add_get("/metrics", exposition.exposition, name="metrics")
    app.router.add_get("/api/v1/monitoring/stats", monitoring.stats, name="stats")
    app.router.add_get("/api/v1/monitoring/stats/daily", monitoring.daily_stats, name="daily_stats")
    app.router.add_get("/api/v1/monitoring/queue", monitoring.queue, name="queue")
    ConsoleFiles().add_routes(app)
    app.router.add_get("/api/v1/monitoring/console", console.console, name="console", allow_head=False)
    app.router.add_get("/api/v1/monitoring/totals", console.totals, name="totals", allow_head=False)
    app.router.add_get("/api/v1/monitoring/settings", console.configuration, name="settings", allow_head=False)
    app.router.add_post("/api/v1/monitoring/debug", console.debug, name="debug")
    app.router.add_get(f"/api/v1/monitoring/explain/{_ID}", explain_handler.explain, name="explain", allow_head=False)
    app.router.add_get(f"/api/v1/monitoring/preview/{_ID}", preview.preview, name="preview", allow_head=False)
    app.router.add_post(f"/api/v1/images/{_ID}/url/refresh", monitoring.refresh, name="refresh")
    app.router.add_get(f"/api/v1/images/{_ID}/status", monitoring.status, name="status", allow_head=False)
    app.router.add_delete(f"/api/v1/images/{_ID}/links", monitoring.kill_links, name="links")
    app.router.add_post("/api/v1/monitoring/queue/requeue", monitoring.requeue, name="requeue")
    app.router.add_post("/api/v1/config/reload", config_reload.reload, name="reload")
    app.router.add_post("/api/v1/cache/purge", monitoring.purge, name="purge")
    app.router.add_get("/healthz", health.healthz, name="healthz")
    app.router.add_get("/readyz", health.readyz_with_reasons, name="readyz")


async def preflight(request: web.Request) -> web.Response:
    """Allow a page of another site to make its request (Fetch standard, CORS preflight).

    The page may send a token of its own. Browsers send it no cookies, because no response allows credentials.
    """
    resource = request.match_info.route.resource
    assert resource is not None, "preflight is a handler of resources"  # noqa: S101
    allowed = ", ".join(sorted(route.method for route in resource))
    return web.Response(
        status=204, headers={**_CORS_PREFLIGHT, "Access-Control-Allow-Methods": allowed, "Allow": allowed}
    )
