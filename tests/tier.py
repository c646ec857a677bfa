"""Records and a clock to sign by, and the tier in a real Redis."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.catalog.record import Catalog, ImageRecord, Rows, RowsUnreadable
from gateway.changes.change_log import ChangeLog
from gateway.changes.entry_trust import EntryTrust
from gateway.concurrency.clocks import boot_time
from gateway.errors import CatalogUnavailable
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.presign.url_lifetime import CheckedSigner, Lifetime
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import GuardedRedis
from gateway.redis_connection.shards import Shards
from gateway.redis_entries.url_entries import EntryCodec, EntryMac, UrlEntries
from gateway.redis_entries.usage_store import Usage, UsageStore
from gateway.redis_queue.leased_queue import LeasedQueue, QueueLimits
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, Live, RedisSettings, UrlCacheSettings
from gateway.urls.local_tier import LocalTier
from gateway.urls.maintenance import SharedMaintenance
from gateway.urls.resolver import UrlResolver
from tests.cluster import Cluster
from tests.heard_changes import quiet_log
from tests.sentinel import Watched
from tests.url_settings import lifetime_of, url_cache

NOW = 1_700_000_000
MAC = EntryMac(Live(("y", None)), "sources")
RENDITIONS = Live(Renditions({"thumb": "imageMogr2/thumbnail/300x300"}))


@dataclass
class Clock:
    """A clock that tests move by hand; in seconds."""

    now: float = float(NOW)

    def __call__(self) -> float:
        return self.now

    async def shared(self) -> float:
        """Return the time, in place of Redis'."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A stopped clock."""
    return Clock()


def record(image_id: str = "a", key: str = "a.png", **changes: object) -> ImageRecord:
    """A public image."""
    values: dict[str, object] = {
        "image_id": image_id,
        "owner": "alice",
        "public": True,
        "bucket": "b-1250000000",
        "region": "ap-beijing",
        "key": key,
        "content_type": "image/png",
    }
    return ImageRecord(**{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Table:
    """A catalog in memory that counts its queries, and can be away or choke on an id."""

    records: dict[str, ImageRecord] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    chokes_on: set[str] = field(default_factory=set)
    is_away: bool = False
    queries: list[list[str]] = field(default_factory=list)

    def add(self, *image_ids: str) -> None:
        self.records |= {image_id: record(image_id, f"{image_id}.png") for image_id in image_ids}

    async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
        self.queries.append(list(image_ids))
        if self.is_away:
            raise CatalogUnavailable("no answer")
        if unreadable := self.chokes_on & set(image_ids):
            raise RowsUnreadable("division by zero", unreadable)
        return Rows(
            {image_id: self.records[image_id] for image_id in image_ids if image_id in self.records},
            {image_id: self.unusable[image_id] for image_id in image_ids if image_id in self.unusable},
        )

    async def try_query(self) -> None:
        if self.is_away:
            raise CatalogUnavailable("no answer")


@dataclass
class Tier:
    """The tier in Redis by its parts, on a clock of the test's."""

    clock: Clock
    metrics: Metrics
    shards: Shards
    signer: Signer
    lifetime: Lifetime
    cache: UrlEntries
    usage: UsageStore
    queue: LeasedQueue
    maintenance: SharedMaintenance
    table: Table
    renditions: Live[Renditions]
    log: ChangeLog
    trust: EntryTrust

    @property
    def server(self) -> GuardedRedis:
        """The only server, or the first node of a Cluster."""
        return self.shards.servers.all[0]

    async def count(self, counted: Mapping[ImageVariant, Usage]) -> None:
        """Write uses as a gateway does once a second."""
        groups = self.shards.split(counted)
        batches = [
            self.usage.batch(shard, {variant: counted[variant] for variant in own}) for shard, own in groups.items()
        ]
        assert not await self.usage.write(batches)

    async def usage_of(self, variant: ImageVariant) -> Usage:
        """Return what is written of the usage of a variant."""
        return (await self.usage.read([variant]))[variant]

    @property
    def urls(self) -> CheckedSigner:
        """The URLs by the tier's clock."""
        return CheckedSigner(self.signer, self.lifetime, self.clock)

    def resolver(
        self,
        *,
        log: ChangeLog | None = None,
        catalog: Catalog | None = None,
        urls: CheckedSigner | None = None,
        in_redis: bool = True,
        steady: Callable[[], float] = boot_time,
        **memory: Any,
    ) -> UrlResolver:
        """Return a resolver with a memory of these settings on the clock ``steady``. It must be closed."""
        trust = EntryTrust(log) if log is not None else self.trust
        local = LocalTier(Live(UrlCacheSettings(**memory)), self.renditions, trust.log, unknown_ttl=3, steady=steady)
        return UrlResolver(
            catalog or self.table, urls or self.urls, self.cache if in_redis else None, local, trust, self.metrics.urls
        )


IN_CLUSTER = pytest.mark.xdist_group("cluster")
SENTINEL, CLUSTER = (pytest.param(name, marks=IN_CLUSTER) for name in ("sentinel", "cluster"))
# Behind Sentinel is one server: its lifecycle is in tests/redis_connection/test_topologies.py.
also_in_a_cluster = pytest.mark.parametrize("tier", ["server", CLUSTER], indirect=True)


def empty_redis(request: pytest.FixtureRequest, topology: str) -> str:
    """Return the URL of an empty Redis: of the "server" of the run, behind "sentinel", or of a "cluster"."""
    match topology:
        case "cluster":
            cluster: Cluster = request.getfixturevalue("six_nodes")
            cluster.flush()
            return cluster.url
        case "sentinel":
            watched: Watched = request.getfixturevalue("watched")
            watched.flush()
            return watched.url
    request.getfixturevalue("redis_client")
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
async def tier(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Tier]:
    """URLs of an hour, due a quarter of an hour before their end; at most 100 are kept.

    They are in the Redis of the run, and with ``also_in_a_cluster`` in a Cluster, too.
    """
    url = empty_redis(request, getattr(request, "param", "server"))
    async with open_redis(RedisSettings(url=SecretStr(url), timeout=10)) as shards:
        yield make_tier(shards, clock)


def signer_of(
    credentials: Credentials | Callable[[str], Credentials],
    metrics: Metrics,
    now: Callable[[], float],
    of_urls: UrlCacheSettings | None = None,
    renditions: Live[Renditions] = RENDITIONS,
    **cos: object,
) -> Signer:
    """Return a signer for the bucket ``b-1250000000``."""
    settings = CosSettings.model_validate({"secret_id": "x", "secret_key": "y", "bucket": "b-1250000000", **cos})
    live = Live(of_urls or url_cache())
    of = (lambda _: credentials) if isinstance(credentials, Credentials) else credentials
    return Signer(of, Hosts(settings), live, renditions=renditions, metrics=metrics.presign, now=now)


def make_tier(
    shards: Shards,
    clock: Clock,
    *,
    max_size: int = 100,
    ttl: int = 3600,
    renews: bool = True,
    renditions: Live[Renditions] = RENDITIONS,
) -> Tier:
    """The parts put together as the service does."""
    metrics, lifetime = Metrics(), lifetime_of(ttl, ttl // 60, ttl // 4)
    of_urls = url_cache(ttl, window=ttl // 12)
    signer = signer_of(Credentials("x", "y"), metrics, clock, of_urls, renditions=renditions)
    cache = UrlEntries(shards, EntryCodec(MAC, signer), lifetime, clock, renews=renews)
    usage = UsageStore(shards)
    queue = LeasedQueue(shards, "refresh", limits=Live(QueueLimits(lambda: 60, 3, 10)))
    settings_of_the_cache = url_cache(ttl, max_size=max_size)
    maintenance = SharedMaintenance(shards, cache, usage, queue, renditions, Live(settings_of_the_cache))
    log = quiet_log()
    return Tier(
        clock,
        metrics,
        shards,
        signer,
        lifetime,
        cache,
        usage,
        queue,
        maintenance,
        Table(),
        renditions,
        log,
        EntryTrust(log),
    )
