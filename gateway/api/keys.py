"""Where handlers find what the composition has opened."""

from aiohttp import web

from gateway.access.identity import Authenticator
from gateway.access.links import Links
from gateway.api.caller import Callers
from gateway.api.client_address import ClientAddress
from gateway.api.proxy import ImageProxy
from gateway.api.viewing import ImageViewing
from gateway.catalog.postgres import PostgresCatalog
from gateway.delivery.handout import HandOut
from gateway.delivery.limit import StreamLimit
from gateway.metrics import Metrics
from gateway.ops.daily_stats import DailyStats
from gateway.ops.health import Health
from gateway.ops.in_flight import InFlight
from gateway.origin.client import OriginClient
from gateway.origin.source import ObjectSource
from gateway.settings import Settings
from gateway.urls.clock import CosClock
from gateway.urls.forgetting import Forgetting
from gateway.urls.lifetime import Lifetime
from gateway.urls.redis_guard import RedisGuard
from gateway.urls.redis_usage import RedisUsage
from gateway.urls.refresh_queue import RefreshQueue
from gateway.urls.refresher import Refresher
from gateway.urls.replicas import Replicas
from gateway.urls.resolver import UrlResolver
from gateway.urls.shared_tier import SharedTier
from gateway.urls.signer import Hosts, Signer
from gateway.urls.usage import UsageCounter

SETTINGS = web.AppKey("settings", Settings)
METRICS = web.AppKey("metrics", Metrics)
CLOCK = web.AppKey("clock", CosClock)
LIFETIME = web.AppKey("lifetime", Lifetime)
HOSTS = web.AppKey("hosts", Hosts)
SIGNER = web.AppKey("signer", Signer)
HAND_OUT = web.AppKey("hand_out", HandOut)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
LINKS = web.AppKey("links", Links)
CALLERS = web.AppKey("callers", Callers)
CLIENT_ADDRESS = web.AppKey("client_address", ClientAddress)
IN_FLIGHT = web.AppKey("in_flight", InFlight)
STREAM_LIMIT = web.AppKey("stream_limit", StreamLimit)
CATALOG = web.AppKey("catalog", PostgresCatalog)
REDIS = web.AppKey("redis", RedisGuard)
REDIS_USAGE = web.AppKey("redis_usage", RedisUsage)
REFRESH_QUEUE = web.AppKey("refresh_queue", RefreshQueue)
SHARED_TIER = web.AppKey("shared_tier", SharedTier)
REPLICAS = web.AppKey("replicas", Replicas)
FORGETTING = web.AppKey("forgetting", Forgetting)
REFRESHER = web.AppKey("refresher", Refresher)
DAILY_STATS = web.AppKey("daily_stats", DailyStats)
ORIGIN = web.AppKey("origin", OriginClient)
USAGE = web.AppKey("usage", UsageCounter)
RESOLVER = web.AppKey("resolver", UrlResolver)
VIEWING = web.AppKey("viewing", ImageViewing)
OBJECT_SOURCE = web.AppKey("object_source", ObjectSource)
IMAGE_PROXY = web.AppKey("image_proxy", ImageProxy)
HEALTH = web.AppKey("health", Health)
# Before the names of an application's routes in metrics; none on the public port.
ROUTE_PREFIX = web.AppKey("route_prefix", str)
