"""A gateway: the real classes on the models of Postgres and Redis."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple

from aiohttp import hdrs
from multidict import CIMultiDict

from gateway.access.caller import Caller
from gateway.access.request_head import RequestHead
from gateway.catalog.change_feed import ChangeFeed
from gateway.catalog.postgres import PostgresCatalog, Primary
from gateway.catalog.query import CatalogQuery
from gateway.catalog.replay_positions import ReplayPositions
from gateway.catalog.server_addresses import ServerAddresses
from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.entry_trust import EntryTrust
from gateway.changes.nginx_list import NginxList
from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.decision import NOTHING, ImageRequest, NeedsBytes, NeedsLookUp, Refused, Rules, decide
from gateway.delivery.decision import Answer as Decided
from gateway.delivery.nginx_decisions import DECISION_FOR, NginxDecisions
from gateway.errors import CatalogUnavailable, GatewayError, ImageNotFound, OriginUnavailable
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.objects.content import Content
from gateway.objects.variant_source import RefusedVariants
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import AuthorizedImage, Signer
from gateway.presign.style_variants import Renditions
from gateway.presign.url_lifetime import CheckedSigner, CosClock
from gateway.purge.intake import PurgeIntake
from gateway.purge.target import Target
from gateway.purge.worker import PurgeWorker
from gateway.redis_connection.guarded_client import CacheUnavailable, GuardedRedis
from gateway.redis_connection.shards import OneServer, Shards
from gateway.redis_entries.url_entries import EntryCodec, EntryMac, UrlEntries
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.service.metrics import Metrics
from gateway.service.urls import rows_missed
from gateway.settings import AccessSettings, CosSettings, ImageProxySettings, Live, PostgresSettings
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.resolver import UrlResolver
from tests.simulation.loop import Process
from tests.simulation.postgres_model import BUCKET, REGION, Connection, ModelPool, Postgres, connected
from tests.simulation.purge_model import PurgeQueue
from tests.simulation.redis_model import Client, Redis
from tests.url_settings import lifetime_of, url_cache

TIMEOUT: Final = 5.0  # postgres.timeout
REDIS_TIMEOUT: Final = 0.5
_LISTENING_TIMEOUT: Final = 3.0  # seconds that a start waits to hear of changes
_PUBLISHED_EVERY: Final = 5.0  # seconds between two points of a replica
_METRICS: Final = Metrics()
_COS: Final = CosSettings.model_validate({"secret_id": "x", "secret_key": "y", "bucket": BUCKET})
_POSTGRES: Final = PostgresSettings.model_validate({"dsn": "postgresql://gateway:x@localhost/simulation"})
_PRIVATE: Final = _POSTGRES.model_copy(update={"columns": _POSTGRES.columns.model_copy(update={"public": None})})
_POLICY: Final = CachePolicy(10, "Cookie", shared_max_age=86_400)
_METADATA: Final = ObjectMetadata(1, '"x"', None, "image/png", None)
_RENDITIONS: Final = Live(Renditions({}))
_SECRETS: Final = Live[tuple[str, str | None]](("y", None))
_CREDENTIALS, _HOSTS = Credentials("x", "y"), Hosts(_COS)


class Setup(NamedTuple):
    """What the configuration of a gateway says.

    settings, rights: names of settings on which answers depend: of images, and of access.
    is_private: no column says that an image is public.
    keeps_decisions: nginx sends the images, and keeps decisions and orders (accel.conf).
    """

    settings: str
    rights: int
    is_private: bool
    keeps_decisions: bool


class Answer(NamedTuple):
    """What a gateway answers.

    viewer: who has asked, by cookie; empty: nobody in particular.
    key: names the version of the row. None for 404 and for no answer.
    setup: the configuration by which the answer was made.
    is_for_nginx: whether nginx may keep it, as far as the other fields allow.
    decision_for: for how many seconds nginx may keep the decision.
    excuse: why it is older than is promised: ``unread``, the gateway cannot read rows; ``silent``, no gateway answers.
    """

    status: int
    viewer: str = ""
    key: str | None = None
    setup: Setup | None = None
    cache_control: str = ""
    is_for_nginx: bool = True
    decision_for: int = 0
    excuse: str = ""

    @property
    def is_public(self) -> bool:
        """Whether shared caches may keep it."""
        return self.cache_control.startswith("public")

    def kept_for(self, *, is_shared: bool) -> int:
        """Return the seconds for which a cache may keep it, that of one viewer or one that many share."""
        if is_shared and not self.is_public:
            return 0
        names = ("s-maxage", "max-age") if is_shared else ("max-age",)
        found = (re.search(rf"\b{name}=(\d+)", self.cache_control) for name in names)
        return next((int(match[1]) for match in found if match), 0)


class Clocks(NamedTuple):
    """The clocks of a process. ``steady``: seconds since some time. ``cos``, ``wall``: Unix seconds."""

    steady: Callable[[], float]
    cos: Callable[[], float]
    wall: Callable[[], float]


class Gateway:
    """A gateway process.

    cdn: what is purged.
    connected: called with each connection that listens to changes.
    """

    def __init__(
        self,
        process: Process,
        postgres: Postgres,
        redis: Redis,
        clocks: Clocks,
        setup: Setup,
        cdn: Target,
        connected: Callable[[Connection], None],
    ) -> None:
        self.process = process
        self.postgres = postgres
        self.setup = setup
        self.connected = connected
        self.steady = steady = clocks.steady
        settings = _PRIVATE if setup.is_private else _POSTGRES
        has_standby = postgres.lag is not None
        positions = ReplayPositions(are_told=True, steady=steady) if has_standby else None
        primary = ModelPool(postgres, process, TIMEOUT, is_standby=False)
        self.catalog = PostgresCatalog(
            ModelPool(postgres, process, TIMEOUT, is_standby=has_standby),  # type: ignore[arg-type]
            CatalogQuery(settings, BUCKET, {BUCKET: REGION}, with_links=True),
            TIMEOUT,
            _METRICS.catalog,
            primary=Primary(primary, positions) if positions is not None else None,  # type: ignore[arg-type]
        )
        self.server = GuardedRedis(Client(redis, process), REDIS_TIMEOUT)  # type: ignore[arg-type]
        shards = Shards(OneServer(self.server), "image:")
        self.channel = InvalidationChannel(shards, steady=steady)
        lifetime = lifetime_of(3600, 60, 900)
        signer = Signer(
            lambda _: _CREDENTIALS,
            _HOSTS,
            Live(url_cache()),
            renditions=_RENDITIONS,
            metrics=_METRICS.presign,
            now=clocks.cos,
        )
        codec = EntryCodec(EntryMac(_SECRETS, str(settings.sources)), signer)
        entries = UrlEntries(shards, codec, lifetime, clocks.cos, tombstone_ttl=2 * TIMEOUT + 20)
        name = secrets.token_hex(8)
        self.log = ChangeLog([Source.ROWS, Source.REPLICAS], name, steady())
        self.nginx_list = NginxList(self.log, name, lambda: self.setup.settings, clocks.wall() - steady())
        local = LocalTier(Live(url_cache()), _RENDITIONS, self.log, unknown_ttl=3.0, steady=steady)
        trust = EntryTrust(self.log)
        urls = CheckedSigner(signer, lifetime, clocks.cos)
        self.resolver = UrlResolver(self.catalog, urls, entries, local, trust, _METRICS.urls)
        self.queue = PurgeQueue(self.server, name)
        self.purges = PurgeIntake(self.queue, _METRICS.purge, now=self.queue.now, replica=name)  # type: ignore[arg-type]
        self.purge_worker = PurgeWorker(self.purges, cdn, _METRICS.purge, self.queue)  # type: ignore[arg-type]
        self.channel.on_dropped = self.purges.add
        self.invalidation = Invalidation(self.log, steady, trust, entries, self.channel, self.purges)
        self.log.add_cache(self.resolver)
        gap_ended = partial(rows_missed, self.catalog, self.invalidation)
        self.trigger_watch = TriggerWatch(self.catalog.triggers, _METRICS.monitoring, gap_ended)
        self.feed = Feed(self, positions)
        self.cos = clocks.cos
        access = NginxDecisions(Live(AccessSettings()), lifetime, CosClock(clocks.cos, steady))
        images = ImageProxySettings(delivery="accel" if setup.keeps_decisions else "stream")
        self.memory = Memory(self.resolver, RefusedVariants(_RENDITIONS, self.log.changed_at))
        self.rules = Rules(images, _POLICY, _caller_of, _RENDITIONS.value, None, access)  # type: ignore[arg-type]

    def hears(self) -> bool:
        """Return whether this process says that it hears all changes."""
        return self.log.hears(self.steady())

    def start(self) -> None:
        """Start what a service starts."""
        for name, work in {
            "feed": self.feed.listen(self.invalidation, self.trigger_watch.look_soon),
            "channel": self.channel.listen(self.log, self.resolver.drop),
            "publish": self.channel.publish_sweeps(self.log),
            "probe": self._probe_redis(),
            "start": self._serve(),
            "replica": self._publish(name=self.purges.replica),
            "purges": self.purge_worker.run(),
        }.items():
            self.process.start(work, name)
        if self.postgres.loses_trigger:
            self.process.start(self.trigger_watch.run(), "trigger watch")

    async def _serve(self) -> None:
        await asyncio.sleep(_LISTENING_TIMEOUT)
        self.log.serves = True

    async def _publish(self, name: str) -> None:
        while True:
            with suppress(CacheUnavailable):
                await self.queue.publish(name, self.cos())
            await asyncio.sleep(_PUBLISHED_EVERY)

    async def _probe_redis(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.server.is_away:
                await self.server.try_again()

    # ---- requests

    async def answer(self, image_id: str, viewer: str) -> Answer:
        """Answer a request for an image, as ``ImageHandler`` does."""
        headers = CIMultiDict({CONFIG_VERSION: "accel.conf 4", hdrs.COOKIE: viewer})
        request = ImageRequest(RequestHead(hdrs.METH_GET, f"/i/{image_id}", "", headers, None), image_id)
        found, memory = NOTHING, self.memory
        needs = NeedsLookUp | NeedsBytes
        while isinstance(decision := decide(request, found, memory, self.rules, self.cos()), needs):
            if isinstance(decision, NeedsBytes):
                await asyncio.sleep(memory.cos_answers_at - memory.now())
                found = decision.found._replace(content=_content(decision.image))
                continue
            try:
                found = decision.found._replace(image=(await self.resolver.look_up(image_id)).image)
            except ImageNotFound:
                found = decision.found._replace(is_missing=True)
            except GatewayError:
                return Answer(503, viewer)
        if isinstance(decision, Refused):
            if isinstance(decision.error, OriginUnavailable):  # the row has changed too often meanwhile
                return Answer(503, viewer)
            assert decision.is_denial, decision.error
            return Answer(404, viewer, setup=self.setup)
        assert isinstance(decision, Decided), decision
        sent = decision.headers()
        return Answer(
            200,
            viewer,
            decision.image.record.key,
            self.setup,
            sent[hdrs.CACHE_CONTROL] if hdrs.CACHE_CONTROL in sent else sent["X-Image-Cache-Control"],
            sent.get("X-Accel-Expires") != "0",
            int(sent.get(DECISION_FOR, "0")),
        )

    def cached(self, image_id: str) -> object:
        """Return what this process keeps of an image, or None."""
        try:
            return self.resolver.image_here(image_id)
        except ImageNotFound:
            return None

    async def kill_links(self, image_id: str) -> None:
        """Kill the links of an image, as its owner asks for."""
        try:
            await self.catalog.kill_links(image_id)
        except CatalogUnavailable:
            return
        await self.invalidation.drop([image_id])

    def change_rights(self, rights: int) -> None:
        """Reload with other settings of access."""
        self.setup = self.setup._replace(rights=rights)
        self.log.sweep(Scope.DECISIONS, self.steady())

    def changes_since(self, since: int, now: int | None) -> str:
        """Return the list for nginx, whose clock has ``now``."""
        return "".join(self.nginx_list.since(since, self.steady(), now))


class Memory:
    """What ``decide`` finds in memory: the images of the resolver, with their bytes unless COS is slow.

    cos_answers_at: until then, COS has to be asked, and does not answer.
    """

    cos_answers_at = 0.0

    def __init__(self, resolver: UrlResolver, refused: RefusedVariants) -> None:
        self.image = resolver.image_here
        self.after_waiting = resolver.after_waiting
        self.now = resolver.local.now
        self.refused = refused  # no rendition

    def content(self, image: AuthorizedImage) -> Content | None:
        """Return the content of any image."""
        return _content(image) if self.now() >= self.cos_answers_at else None

    def keeps(self, _metadata: ObjectMetadata) -> bool:
        """Return whether such an object is kept whole."""
        return True


def _content(image: AuthorizedImage) -> Content:
    return Content(image, _METADATA, data=b"x", age=0.0, fresh_for=60.0)


def _caller_of(head: RequestHead, _link: object, _now: float) -> Caller:
    return Caller(user=head.headers[hdrs.COOKIE] or None)


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
