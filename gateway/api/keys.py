"""Where handlers find what the composition has opened."""

from collections.abc import Callable

from aiohttp import web

from gateway.access.identity import Authenticator
from gateway.api.viewing import ImageViewing
from gateway.catalog.postgres import PostgresCatalog
from gateway.delivery.accel import ImageAccel
from gateway.delivery.limit import StreamLimit
from gateway.delivery.stream import ImageStream
from gateway.metrics import Metrics
from gateway.ops.health import Health
from gateway.ops.in_flight import InFlight
from gateway.origin.client import OriginClient
from gateway.origin.source import ObjectSource
from gateway.settings import Settings
from gateway.urls.lifetime import Lifetime
from gateway.urls.redis_cache import RedisUrlCache
from gateway.urls.resolver import UrlResolver
from gateway.urls.signer import Hosts, Signer
from gateway.urls.usage import UsageCounter

SETTINGS = web.AppKey("settings", Settings)
METRICS = web.AppKey("metrics", Metrics)
LIFETIME = web.AppKey("lifetime", Lifetime)
HOSTS = web.AppKey("hosts", Hosts)
SIGNER = web.AppKey("signer", Signer)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
IN_FLIGHT = web.AppKey("in_flight", InFlight)
STREAM_LIMIT = web.AppKey("stream_limit", StreamLimit)
CATALOG = web.AppKey("catalog", PostgresCatalog)
URL_CACHE = web.AppKey("url_cache", RedisUrlCache)
ORIGIN = web.AppKey("origin", OriginClient)
USAGE = web.AppKey("usage", UsageCounter)
RESOLVER = web.AppKey("resolver", UrlResolver)
VIEWING = web.AppKey("viewing", ImageViewing)
OBJECT_SOURCE = web.AppKey("object_source", ObjectSource)
IMAGE_STREAM = web.AppKey("image_stream", ImageStream)
IMAGE_ACCEL = web.AppKey("image_accel", ImageAccel)
# Each forgets what it keeps of an image, by id: for whoever learns that an image has changed.
DROPPERS = web.AppKey("droppers", list[Callable[[str], None]])
HEALTH = web.AppKey("health", Health)
