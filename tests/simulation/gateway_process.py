"""A gateway: the real classes on the models of Postgres and Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, NamedTuple

from gateway.catalog.change_feed import ChangeFeed
from gateway.catalog.postgres import PostgresCatalog, Primary
from gateway.catalog.query import CatalogQuery
from gateway.catalog.replay_positions import ReplayPositions
from gateway.catalog.server_addresses import ServerAddresses
from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.entry_trust import EntryTrust
from gateway.changes.nginx_list import NginxList
from gateway.errors import CatalogUnavailable, GatewayError, ImageNotFound
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.presign.style_variants import Renditions
from gateway.presign.url_lifetime import CheckedSigner
from gateway.redis_connection.guarded_client import GuardedRedis
from gateway.redis_connection.shards import OneServer, Shards
from gateway.redis_entries.url_entries import EntryCodec, EntryMac, EntryRules, UrlEntries
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, Live, PostgresSettings
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.resolver import UrlResolver
from tests.simulation.loop import Process
from tests.simulation.postgres_model import BUCKET, REGION, Connection, ModelPool, Postgres, connected
from tests.simulation.redis_model import Client, Redis
from tests.url_settings import lifetime_of, url_cache

TIMEOUT: Final = 5.0  # postgres.timeout
REDIS_TIMEOUT: Final = 0.5
_LISTENING_TIMEOUT: Final = 1.0  # seconds that a start waits to hear of changes
_METRICS: Final = Metrics()
_COS: Final = CosSettings.model_validate({"secret_id": "x", "secret_key": "y", "bucket": BUCKET})
_POSTGRES: Final = PostgresSettings.model_validate({"dsn": "postgresql://gateway:x@localhost/simulation"})
_RENDITIONS: Final = Renditions({})
_MAC: Final = EntryMac(Live(("y", None)), "sources")
_CREDENTIALS, _HOSTS = Credentials("x", "y"), Hosts(_COS)


class Answer(NamedTuple):
    """What a gateway answers.

    key: names the version of the row. None for 404 and for no answer.
    settings, rights: the settings by which the answer was made: of images, and of access.
    is_unread: it is marked as made by a row that could not be read.
    """

    status: int
    key: str | None = None
    is_public: bool = False
    settings: str = ""
    rights: int = 0
    is_unread: bool = False


class Clocks(NamedTuple):
    """The clocks of a process. ``steady``: seconds since some time. ``cos``, ``wall``: Unix seconds."""

    steady: Callable[[], float]
    cos: Callable[[], float]
    wall: Callable[[], float]


class Gateway:
    """A gateway process.

    connected: called with each connection that listens to changes.
    """

    def __init__(
        self,
        process: Process,
        postgres: Postgres,
        redis: Redis,
        clocks: Clocks,
        settings: str,
        rights: int,
        connected: Callable[[Connection], None],
    ) -> None:
        self.process = process
        self.postgres = postgres
        self.settings = settings
        self.rights = rights
        self.connected = connected
        self.steady = steady = clocks.steady
        has_standby = postgres.lag is not None
        positions = ReplayPositions(are_told=True, steady=steady) if has_standby else None
        primary = ModelPool(postgres, process, TIMEOUT, is_standby=False)
        self.catalog = PostgresCatalog(
            ModelPool(postgres, process, TIMEOUT, is_standby=has_standby),  # type: ignore[arg-type]
            CatalogQuery(_POSTGRES, BUCKET, {BUCKET: REGION}, with_links=True),
            TIMEOUT,
            _METRICS.catalog,
            primary=Primary(primary, positions) if positions is not None else None,  # type: ignore[arg-type]
        )
        self.server = GuardedRedis(Client(redis, process), REDIS_TIMEOUT)  # type: ignore[arg-type]
        shards = Shards(OneServer(self.server), "image:")
        self.channel = InvalidationChannel(shards, steady=steady)
        lifetime = lifetime_of(3600, 60, 900)
        signer = Signer(
            _CREDENTIALS, _HOSTS, Live(url_cache()), renditions=_RENDITIONS, metrics=_METRICS.presign, now=clocks.cos
        )
        rules = EntryRules(tombstone_ttl=2 * TIMEOUT + 20)
        entries = UrlEntries(shards, EntryCodec(_MAC, signer), _RENDITIONS, lifetime, rules, clocks.cos)
        name = secrets.token_hex(8)
        self.log = ChangeLog([Source.ROWS, Source.REPLICAS], name, steady())
        self.nginx_list = NginxList(self.log, name, lambda: settings, clocks.wall() - steady())
        local = LocalTier(Live(url_cache()), _RENDITIONS, self.log, unknown_ttl=3.0, steady=steady)
        trust = EntryTrust(self.log)
        urls = CheckedSigner(signer, lifetime, clocks.cos)
        self.resolver = UrlResolver(self.catalog, urls, entries, local, trust, _METRICS.urls)
        self.invalidation = Invalidation(self.log, steady, trust, entries, self.channel, None)
        self.log.add_cache(self.resolver)
        self.feed = Feed(self, positions)

    def hears(self) -> bool:
        """Return whether this process says that it hears all changes."""
        return self.log.hears(self.steady())

    def start(self) -> None:
        """Start what a service starts."""
        for name, work in {
            "feed": self.feed.listen(self.invalidation),
            "channel": self.channel.listen(self.log, self.resolver.drop),
            "publish": self.channel.publish_sweeps(self.log),
            "probe": self._probe_redis(),
            "start": self._serve(),
        }.items():
            self.process.start(work, name)

    async def _serve(self) -> None:
        await asyncio.sleep(_LISTENING_TIMEOUT)
        self.log.serves = True

    async def _probe_redis(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.server.is_away:
                await self.server.try_again()

    # ---- requests

    async def answer(self, image_id: str) -> Answer:
        """Answer a request for an image."""
        try:
            resolved = self.resolver.get_cached(image_id) or await self.resolver.look_up(image_id)
        except ImageNotFound:
            return Answer(404, settings=self.settings, rights=self.rights)
        except GatewayError:
            return Answer(503)
        record = resolved.image.record
        return Answer(200, record.key, record.public, self.settings, self.rights, resolved.image.unread)

    def cached(self, image_id: str) -> object:
        """Return what this process keeps of an image, or None."""
        return self.resolver.cached_here(image_id, None)

    async def kill_links(self, image_id: str) -> None:
        """Kill the links of an image, as its owner asks for."""
        try:
            await self.catalog.kill_links(image_id)
        except CatalogUnavailable:
            return
        await self.invalidation.drop([image_id])

    def change_rights(self, rights: int) -> None:
        """Reload with other settings of access."""
        self.rights = rights
        self.log.sweep(Scope.DECISIONS, self.steady())

    def changes_since(self, since: int, now: int | None) -> str:
        """Return the list for nginx, whose clock has ``now``."""
        return self.nginx_list.since(since, self.steady(), now)


class Feed(ChangeFeed):
    """The change feed of a gateway, over the model of aiopg's connection."""

    def __init__(self, gateway: Gateway, positions: ReplayPositions | None) -> None:
        addresses = ServerAddresses("postgres://simulation", TIMEOUT)
        super().__init__(addresses, _METRICS.catalog, positions, steady=gateway.steady)
        self._gateway = gateway

    def connection(self, application_name: str) -> AbstractAsyncContextManager[Any]:
        """Open a connection to the model of Postgres."""
        return self._connected(listens=application_name == "image-gateway-changes")

    @asynccontextmanager
    async def _connected(self, *, listens: bool) -> AsyncIterator[Connection]:
        gateway = self._gateway
        async with connected(Connection(gateway.postgres, gateway.process, TIMEOUT, TIMEOUT)) as connection:
            if listens:
                gateway.connected(connection)
            yield connection
