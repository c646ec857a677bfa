"""The keys under which the application holds its components."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.access.admin_guard import AdminGuard
from gateway.access.identity import Authenticator
from gateway.access.signed_links import SignedLinks
from gateway.api.access_log import AccessLog
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.caller import Callers
from gateway.api.client_address import ClientAddress
from gateway.api.image_handler import ImageHandler
from gateway.api.nginx_files import NginxFiles
from gateway.api.url_handler import UrlHandler
from gateway.catalog.postgres import PostgresCatalog
from gateway.concurrency.in_flight import InFlight
from gateway.concurrency.replaceable import Replaceable
from gateway.delivery.fallback_picture import FallbackPicture
from gateway.delivery.public_url import PublicUrls
from gateway.delivery.variant_request import VariantRequests
from gateway.explain.explainer import Explainer
from gateway.metrics.collectors import Metrics
from gateway.metrics.history import History
from gateway.monitoring.health import Health
from gateway.monitoring.history_recorder import HistoryRecorder
from gateway.origin.client import OriginClient
from gateway.origin.object_source import ObjectSource
from gateway.origin.refused_variants import RefusedVariants
from gateway.presign.cos_clock import CosClock
from gateway.presign.credentials.by_bucket import BucketCredentials
from gateway.presign.hosts import Hosts
from gateway.presign.lifetime import Lifetime
from gateway.presign.renditions import Renditions
from gateway.presign.signer import Signer
from gateway.process.debug_log import DebugLog
from gateway.process.reloader import Reloader
from gateway.purge.addresses import Addresses
from gateway.purge.intake import PurgeIntake
from gateway.purge.target import Target
from gateway.redis_store.daily_statistics import DailyStatistics
from gateway.redis_store.description_store import DescriptionStore
from gateway.redis_store.entry_codec import EntryMac
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.redis_store.purge_queue import PurgeQueue
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.redis_store.replica_store import ReplicaStore
from gateway.redis_store.usage_store import UsageStore
from gateway.settings import Settings
from gateway.tracing.hooks import Tracing
from gateway.urls.descriptions import Descriptions
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.new_variants import NewVariants
from gateway.urls.on_demand_renewal import OnDemandRenewal
from gateway.urls.refresh_worker import RefreshWorker
from gateway.urls.resolver import UrlResolver
from gateway.urls.shared_tier import SharedTier
from gateway.urls.usage_counter import UsageCounter

if TYPE_CHECKING:  # imported where it is used, if tokens are configured
    from gateway.access.jwks import Jwks

# The settings at the start of the process. ``RELOADER`` has the settings in use.
SETTINGS = web.AppKey("settings", Settings)
# Reads the sources of the settings again; absent in a process that cannot reload.
READ_SETTINGS: web.AppKey[Callable[[], Settings]] = web.AppKey("read_settings")
RELOADER = web.AppKey("reloader", Reloader[Settings])
METRICS = web.AppKey("metrics", Metrics)
CLOCK = web.AppKey("clock", CosClock)
OPEN_CREDENTIALS = web.AppKey("open_credentials", Replaceable[BucketCredentials])
CREDENTIALS = web.AppKey("credentials", BucketCredentials)
LIFETIME = web.AppKey("lifetime", Lifetime)
HOSTS = web.AppKey("hosts", Hosts)
SIGNER = web.AppKey("signer", Signer)
PUBLIC_URLS = web.AppKey("public_urls", PublicUrls)
KEY_SET: "web.AppKey[Replaceable[Jwks | None]]" = web.AppKey("key_set", Replaceable)
ADMIN_GUARD = web.AppKey("admin_guard", AdminGuard)
AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
SIGNED_LINKS = web.AppKey("signed_links", SignedLinks)
CALLERS = web.AppKey("callers", Callers)
CLIENT_ADDRESS = web.AppKey("client_address", ClientAddress)
IN_FLIGHT = web.AppKey("in_flight", InFlight)
CATALOG = web.AppKey("catalog", PostgresCatalog)
REDIS = web.AppKey("redis", GuardedRedis)
USAGE_STORE = web.AppKey("usage_store", UsageStore)
DESCRIPTION_STORE = web.AppKey("description_store", DescriptionStore)
DESCRIPTIONS = web.AppKey("descriptions", Descriptions)
REFUSED_VARIANTS = web.AppKey("refused_variants", RefusedVariants)
RENDITIONS = web.AppKey("renditions", Renditions)
PURGE_QUEUE = web.AppKey("purge_queue", PurgeQueue)
PURGE_ADDRESSES = web.AppKey("purge_addresses", Addresses)
PURGE_INTAKE = web.AppKey("purge_intake", PurgeIntake)
PURGE_TARGET: web.AppKey[Target] = web.AppKey("purge_target")
PURGE_CREDENTIALS = web.AppKey("purge_credentials", BucketCredentials)
REFRESH_QUEUE = web.AppKey("refresh_queue", RefreshQueue)
ENTRY_MAC = web.AppKey("entry_mac", EntryMac)
LOCAL_TIER = web.AppKey("local_tier", LocalTier)
NEW_VARIANTS = web.AppKey("new_variants", NewVariants)
SHARED_TIER = web.AppKey("shared_tier", SharedTier)
INVALIDATION_CHANNEL = web.AppKey("invalidation_channel", InvalidationChannel)
INVALIDATION = web.AppKey("invalidation", Invalidation)
REFRESH_WORKER = web.AppKey("refresh_worker", RefreshWorker)
DAILY_STATISTICS = web.AppKey("daily_statistics", DailyStatistics)
ORIGIN = web.AppKey("origin", OriginClient)
USAGE = web.AppKey("usage", UsageCounter)
RESOLVER = web.AppKey("resolver", UrlResolver)
ON_DEMAND_RENEWAL = web.AppKey("on_demand_renewal", OnDemandRenewal)
AUTHORIZED_LOOKUP = web.AppKey("authorized_lookup", AuthorizedLookup)
OBJECT_SOURCE = web.AppKey("object_source", ObjectSource)
IMAGE_HANDLER = web.AppKey("image_handler", ImageHandler)
URL_HANDLER = web.AppKey("url_handler", UrlHandler)
ACCESS_LOG = web.AppKey("access_log", AccessLog)
NGINX_FILES = web.AppKey("nginx_files", NginxFiles)
VARIANT_REQUESTS = web.AppKey("variant_requests", VariantRequests)
FALLBACK_PICTURE = web.AppKey("fallback_picture", FallbackPicture)
EXPLAINER = web.AppKey("explainer", Explainer)
HISTORY = web.AppKey("history", History)
HISTORY_RECORDER = web.AppKey("history_recorder", HistoryRecorder)
REPLICA_STORE = web.AppKey("replica_store", ReplicaStore)
DEBUG_LOG = web.AppKey("debug_log", DebugLog)
HEALTH = web.AppKey("health", Health)
TRACING = web.AppKey("tracing", Tracing)
# The prefix of the application's route names in metrics; absent on the public port.
ROUTE_PREFIX = web.AppKey("route_prefix", str)
