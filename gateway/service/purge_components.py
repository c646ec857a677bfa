"""The components that purge changed images from caches in front, as contexts; absent without ``purge``."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from gateway.api import app_keys
from gateway.concurrency.background import background
from gateway.presign.credentials.by_bucket import BucketCredentials, open_source
from gateway.purge import edgeone, tencent_cdn
from gateway.purge.addresses import Addresses
from gateway.purge.edgeone import EdgeOne
from gateway.purge.intake import PurgeIntake
from gateway.purge.target import Target
from gateway.purge.tencent_cdn import TencentCdn
from gateway.purge.tencent_service import KeySource, TencentService
from gateway.purge.webhook import Webhook
from gateway.purge.worker import PurgeWorker
from gateway.redis_store.purge_queue import PurgeQueue
from gateway.settings import MOST_ADDRESSES, PurgeSettings
from gateway.tencent_api.bounded_http import BoundedHttp
from gateway.tencent_api.client import TencentApi
from gateway.tencent_api.signature import ApiKey

PURGE_CREDENTIALS = "purge"
"""The name of ``purge.credentials`` in metrics and logs, where others have the name of a bucket."""

_TIMEOUT = 10.0  # seconds for a whole request
_MOST_BYTES = 4 * 1024 * 1024  # of an answer: EdgeOne repeats up to a thousand addresses in it


async def purge_queue(app: web.Application) -> AsyncIterator[None]:
    """The queue of purges."""
    settings = app[app_keys.SETTINGS].purge
    if settings is not None:
        app[app_keys.PURGE_QUEUE] = queue = PurgeQueue(app[app_keys.REDIS], per_second=settings.per_second)
        app[app_keys.PURGE_INTAKE] = PurgeIntake(queue, app[app_keys.METRICS])
    yield


async def purge_target(app: web.Application) -> AsyncIterator[None]:
    """The service that purges images, and its own credentials if they are configured."""
    settings = app[app_keys.SETTINGS].purge
    if settings is None:
        yield
        return
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(BoundedHttp(_TIMEOUT, _MOST_BYTES))
        if settings.target == "webhook":
            app[app_keys.PURGE_TARGET] = _webhook(app, settings, http)
        else:
            app[app_keys.PURGE_TARGET] = await _tencent(app, settings, http, stack)
        yield


async def purge_worker(app: web.Application) -> AsyncIterator[None]:
    """Sends the purges that are due."""
    if app_keys.PURGE_TARGET not in app:
        yield
        return
    worker = PurgeWorker(
        app[app_keys.PURGE_QUEUE], app[app_keys.PURGE_INTAKE], app[app_keys.PURGE_TARGET], app[app_keys.METRICS]
    )
    async with background("purge-worker", worker.run()):
        yield
    await worker.give_back()


def _addresses(app: web.Application, settings: PurgeSettings) -> Addresses:
    """Return the addresses of images, which a reload of the styles changes."""
    app[app_keys.PURGE_ADDRESSES] = addresses = Addresses(settings.base_urls, app[app_keys.RENDITIONS])
    return addresses


def _webhook(app: web.Application, settings: PurgeSettings, http: BoundedHttp) -> Webhook:
    if settings.url is None:
        raise ValueError("the webhook has no url")  # the settings model refuses that
    token = settings.token.get_secret_value() if settings.token is not None else None
    return Webhook(http, settings.url, _addresses(app, settings), token=token)


async def _tencent(app: web.Application, settings: PurgeSettings, http: BoundedHttp, stack: AsyncExitStack) -> Target:
    cos, clock = app[app_keys.SETTINGS].cos, app[app_keys.CLOCK]
    if settings.credentials is None:
        keys = _keys(app[app_keys.CREDENTIALS], cos.bucket)
    else:
        opening = open_source(
            cos.with_keys(settings.credentials), PURGE_CREDENTIALS, app[app_keys.METRICS], now=clock.now
        )
        app[app_keys.PURGE_CREDENTIALS] = credentials = await stack.enter_async_context(opening)
        keys = _keys(credentials, PURGE_CREDENTIALS)
    addresses = _addresses(app, settings) if settings.names_addresses else None
    room = edgeone if settings.target == "edgeone" else tencent_cdn
    api = TencentApi(http, settings.api, service=room.SERVICE, version=room.VERSION, now=clock.now)
    service = TencentService(api, keys, MOST_ADDRESSES)
    if settings.target == "edgeone":
        return EdgeOne(service, settings.zone_id or "", addresses)
    if addresses is None:
        raise ValueError("tencent_cdn purges by address")
    return TencentCdn(service, addresses)


def _keys(credentials: BucketCredentials, name: str) -> KeySource:
    def newest() -> ApiKey:
        found = credentials.of(name)
        return ApiKey(found.secret_id, found.secret_key, found.token)

    return KeySource(newest, partial(credentials.refused_key, name))
