"""The whole service: its parts, in the order in which they open."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

from gateway.access.canary_mark import CanaryMark
from gateway.process.reloader import Reloader
from gateway.purge.intake import PurgeIntake
from gateway.service.access import Access, open_access
from gateway.service.changes import Changes
from gateway.service.diagnostics import Diagnostics, open_canary, open_diagnostics
from gateway.service.images import Images, open_cos
from gateway.service.metrics import Metrics
from gateway.service.purges import make_purge_intake, open_purge_target, purging
from gateway.service.refresh import open_refresh
from gateway.service.requests import Requests, open_requests
from gateway.service.signing import Signing, open_signing
from gateway.service.stores import Stores, open_stores
from gateway.service.urls import Urls, hearing
from gateway.settings import Live, Settings
from gateway.urls.refresh_worker import RefreshReport


@dataclass(frozen=True, slots=True)
class Service:
    """The running gateway: all its parts, opened. ``settings``: those in use."""

    settings: Live[Settings]
    metrics: Metrics
    requests: Requests
    changes: Changes
    access: Access
    signing: Signing
    stores: Stores
    urls: Urls
    images: Images
    refresh: RefreshReport
    purges: PurgeIntake | None
    canary: CanaryMark
    diagnostics: Diagnostics
    reloader: Reloader


@asynccontextmanager
async def open_service(
    settings: Settings, metrics: Metrics, read_settings: Callable[[], Settings] | None = None
) -> AsyncIterator[Service]:
    """Open every part. The parts close in reverse order, also when a part fails to open.

    ``read_settings`` reads the settings in a thread, for a reload, or raises ``SettingsError``. None: there is no
    reload. Raises ``CatalogQueryRefused``, ``WrongRedis``, ``SettingsError`` and ``UnusablePicture``.
    """
    live = Live(settings)
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        requests = await opened(open_requests(live, metrics.server, metrics.trace_spans))
        changes = Changes(live, metrics.heartbeat_age)
        access = await opened(open_access(live, metrics.access, changes.rights_changed))
        signing = await opened(open_signing(live, metrics.presign))
        stores = await opened(open_stores(live, metrics.catalog, metrics.monitoring, signing, requests.tracing))
        await stores.check()
        purges = make_purge_intake(settings, metrics.purge, stores)
        urls = await opened(aclosing(Urls(live, metrics.urls, signing, stores, purges, changes)))
        origin = await opened(open_cos(live, metrics.origin, signing, requests.tracing))
        images = await opened(aclosing(Images(live, metrics, access, urls, origin)))
        diagnostics = await opened(open_diagnostics(live, metrics, access, urls, images))
        target = await opened(open_purge_target(live, metrics.presign, signing, urls.aliases))
        if purges is not None and target is not None and stores.redis is not None:
            name = diagnostics.replica.name
            await opened(purging(purges, target, metrics.purge, stores.redis, name))
        watch = diagnostics.trigger_watch
        await opened(hearing(settings, metrics.catalog, urls, watch.look_soon, watch.has_looked))
        refresh = await opened(open_refresh(live, metrics.server.requests, urls, origin))
        canary = await opened(open_canary(live, metrics, signing, stores, origin))
        health, prepare = diagnostics.health, (access.prepare, signing.prepare)
        reloader = Reloader(live, read_settings, prepare, metrics.reload, is_draining=lambda: health.is_draining)
        stack.push_async_callback(reloader.finish)
        yield Service(
            settings=live,
            metrics=metrics,
            requests=requests,
            changes=changes,
            access=access,
            signing=signing,
            stores=stores,
            urls=urls,
            images=images,
            refresh=refresh,
            purges=purges,
            canary=canary,
            diagnostics=diagnostics,
            reloader=reloader,
        )
