"""Where handlers find what the composition has opened."""

from aiohttp import web

from gateway.access.identity import Authenticator
from gateway.access.signed_links import SignedLinks
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.caller import Callers
from gateway.api.client_address import ClientAddress
from gateway.api.image_handler import ImageHandler
from gateway.catalog.postgres import PostgresCatalog
from gateway.concurrency.in_flight import InFlight
from gateway.delivery.public_url import PublicUrls
from gateway.metrics.collectors import Metrics
from gateway.ops.health import Health
from gateway.origin.client import OriginClient
from gateway.origin.object_source import ObjectSource
from gateway.presign.cos_clock import CosClock
from gateway.presign.lifetime import Lifetime
from gateway.presign.signer import Hosts, Signer
from gateway.redis_store.daily_statistics import DailyStatistics
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.redis_store.usage_store import UsageStore
from gateway.settings import Settings
from gateway.urls.invalidation import Invalidation
from gateway.urls.refresh_worker import RefreshWorker
from gateway.urls.resolver import UrlResolver
from gateway.urls.shared_tier import SharedTier
from gateway.urls.usage_counter import UsageCounter

SETTINGS = web.AppKey("settings", Settings)
METRICS = web.AppKey("metrics", Metrics)
CLOCK = web.AppKey("clock", CosClock)
LIFETIME = web.AppKey("lifetime", Lifetime)
HOSTS = web.AppKey("hosts", Hosts)
SIGNER = web.AppKey("signer", Signer)
PUBLIC_URLS = web.AppKey("hand_out", PublicUrls)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
LINKS = web.AppKey("links", SignedLinks)
CALLERS = web.AppKey("callers", Callers)
CLIENT_ADDRESS = web.AppKey("client_address", ClientAddress)
IN_FLIGHT = web.AppKey("in_flight", InFlight)
CATALOG = web.AppKey("catalog", PostgresCatalog)
REDIS = web.AppKey("redis", GuardedRedis)
USAGE_STORE = web.AppKey("redis_usage", UsageStore)
REFRESH_QUEUE = web.AppKey("refresh_queue", RefreshQueue)
SHARED_TIER = web.AppKey("shared_tier", SharedTier)
INVALIDATION_CHANNEL = web.AppKey("replicas", InvalidationChannel)
INVALIDATION = web.AppKey("forgetting", Invalidation)
REFRESH_WORKER = web.AppKey("refresher", RefreshWorker)
DAILY_STATISTICS = web.AppKey("daily_stats", DailyStatistics)
ORIGIN = web.AppKey("origin", OriginClient)
USAGE = web.AppKey("usage", UsageCounter)
RESOLVER = web.AppKey("resolver", UrlResolver)
AUTHORIZED_LOOKUP = web.AppKey("viewing", AuthorizedLookup)
OBJECT_SOURCE = web.AppKey("object_source", ObjectSource)
IMAGE_HANDLER = web.AppKey("image_handler", ImageHandler)
HEALTH = web.AppKey("health", Health)
# Before the names of an application's routes in metrics; none on the public port.
ROUTE_PREFIX = web.AppKey("route_prefix", str)
