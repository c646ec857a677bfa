"""The composition of the service: every component, in the order it opens.

The components open when the application starts, none before. They close in reverse order, also when one of them fails
to open.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

from gateway.api import app_keys
from gateway.api.routes import ADMIN, add_admin_routes, add_public_routes
from gateway.metrics.collectors import Metrics
from gateway.service import (
    access_components,
    background_tasks,
    components,
    diagnostic_components,
    image_components,
    purge_components,
    reload_components,
)
from gateway.settings import Settings

_MAX_BODY = 64 * 1024  # bytes; the largest valid one names 200 images

Component = Callable[[web.Application], AsyncIterator[None]]

# The components of commands that do not serve.
_COMMAND_COMPONENTS = (
    access_components.signed_links,
    components.credentials,
    components.signer,
    components.catalog,
    components.shared_tier,
    purge_components.purge_queue,
    components.origin,
    components.resolver,
)

_SERVICE_COMPONENTS = (
    reload_components.reloader,
    diagnostic_components.tracing,
    image_components.fallback_picture,
    background_tasks.access_log,
    access_components.authenticator,
    access_components.signed_links,
    access_components.callers,
    components.in_flight,
    components.credentials,
    components.signer,
    components.catalog,
    components.catalog_query,
    components.shared_tier,
    purge_components.purge_queue,
    components.origin,
    components.resolver,
    image_components.descriptions,
    image_components.on_demand_renewal,
    image_components.object_source,
    image_components.image_handler,
    diagnostic_components.explainer,
    background_tasks.loop_lag,
    background_tasks.health,
    background_tasks.refresh_worker,
    purge_components.purge_target,
    purge_components.purge_worker,
    background_tasks.statistics,
    background_tasks.change_feeds,
    background_tasks.trigger_watch,
    background_tasks.warm_up,
    background_tasks.debug_log,
    background_tasks.history,
    reload_components.reloading,
)

# What handlers of the admin port use of the public one.
_ADMIN_KEYS: tuple[web.AppKey[Any], ...] = (
    app_keys.SETTINGS,
    app_keys.RELOADER,
    app_keys.METRICS,
    app_keys.CLOCK,
    app_keys.ADMIN_GUARD,
    app_keys.AUTHORIZED_LOOKUP,
    app_keys.CATALOG,
    app_keys.SIGNED_LINKS,
    app_keys.CLIENT_ADDRESS,
    app_keys.IN_FLIGHT,
    app_keys.HEALTH,
    app_keys.EXPLAINER,
    app_keys.HISTORY,
    app_keys.REPLICA_STORE,
    app_keys.DEBUG_LOG,
    app_keys.ORIGIN,
    app_keys.CREDENTIALS,
    app_keys.RESOLVER,
    app_keys.ON_DEMAND_RENEWAL,
    app_keys.OBJECT_SOURCE,
    app_keys.PUBLIC_URLS,
    app_keys.USAGE,
    app_keys.INVALIDATION,
    app_keys.USAGE_STORE,
    app_keys.REFRESH_QUEUE,
    app_keys.REFRESH_WORKER,
    app_keys.PURGE_QUEUE,
    app_keys.DAILY_STATISTICS,
)


def create_app(
    settings: Settings, metrics: Metrics, read_settings: Callable[[], Settings] | None = None
) -> web.Application:
    """Return the application of the public port.

    ``read_settings`` reads the settings again, in a thread, for a reload; None: there is no reload. It raises
    ``SettingsError``.
    """
    app = _empty_app(settings, metrics)
    if read_settings is not None:
        app[app_keys.READ_SETTINGS] = read_settings
    app.cleanup_ctx.extend(_SERVICE_COMPONENTS)
    add_public_routes(app)
    return app


def create_admin_app(app: web.Application) -> web.Application:
    """Return the application of the admin port; ``app``, that of the public port, has started."""
    admin = web.Application(client_max_size=_MAX_BODY)
    # With a prefix, requests of operators and Prometheus are counted separately from those for images.
    admin[app_keys.ROUTE_PREFIX] = ADMIN
    for key in _ADMIN_KEYS:
        if key in app:
            admin[key] = app[key]
    add_admin_routes(admin)
    return admin


@asynccontextmanager
async def opened_components(settings: Settings, *more: Component) -> AsyncIterator[web.Application]:
    """Open the components of commands, and ``more``: an application without routes, ports and background tasks."""
    app = _empty_app(settings, Metrics())
    async with AsyncExitStack() as stack:
        for component in (*_COMMAND_COMPONENTS, *more):
            await stack.enter_async_context(asynccontextmanager(component)(app))
        yield app


def _empty_app(settings: Settings, metrics: Metrics) -> web.Application:
    app = web.Application(client_max_size=_MAX_BODY)
    app[app_keys.SETTINGS] = settings
    app[app_keys.METRICS] = metrics
    return app
