"""The part that knows what has changed: the log, the list for nginx, and the connections that hear of changes."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from prometheus_client import Gauge

from gateway.catalog.change_feed import ChangeFeed
from gateway.catalog.metrics import CatalogMetrics
from gateway.catalog.server_addresses import ServerAddresses
from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.heartbeat import Heartbeat
from gateway.changes.nginx_list import NginxList
from gateway.concurrency.background import background
from gateway.concurrency.clocks import boot_time
from gateway.errors import DependencyDegraded
from gateway.service.stores import Stores
from gateway.settings import Live, Settings
from gateway.urls.invalidation import Invalidation

# Seconds that a start waits to hear of changes. An image served before may be old, and remain in caches in front.
_LISTENING_TIMEOUT: Final = 1.0
_OVERDUE: Final = 15.0  # seconds without a heartbeat
_MESSAGES: Final = {
    Source.ROWS: "the notifications of Postgres",
    Source.REPLICAS: "the messages of replicas in Redis",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """``log`` drops changed images from the caches of this process, and ``nginx_list`` lists them for nginx."""

    log: ChangeLog
    nginx_list: NginxList

    async def probe(self) -> None:
        """Raise ``DependencyDegraded`` if no heartbeat has come back lately: changes are not heard."""
        for source, heartbeat in self.log.heartbeats.items():
            if (age := heartbeat.age(boot_time())) > _OVERDUE:
                raise DependencyDegraded(f"no heartbeat came back for {age:.0f} s among {_MESSAGES[source]}")

    def rights_changed(self) -> None:
        """Make caches in front forget decisions about access: callers have other rights from now on."""
        self.log.sweep(Scope.DECISIONS, boot_time())

    def settings_changed(self, old: Settings, new: Settings) -> None:
        """Make every cache forget what depends on settings that have changed."""
        if _results(old) != _results(new):
            self.log.sweep(Scope.IMAGES, boot_time())
        elif old.access != new.access:
            self.rights_changed()


def make_changes(live: Live[Settings], heartbeat_age: Gauge | None = None) -> Changes:
    """Return the part. It has nothing to open. Without ``heartbeat_age``, this process hears no changes."""
    settings, results = live.value, live.map(_results)
    heard = {Source.ROWS: settings.postgres.listen, Source.REPLICAS: settings.url_cache.enabled}
    sources = [source for source, is_heard in heard.items() if is_heard and heartbeat_age is not None]
    name = secrets.token_hex(8)
    log = ChangeLog(sources, name, boot_time())
    if heartbeat_age is not None:
        for source, heartbeat in log.heartbeats.items():
            heartbeat_age.labels(source.value).set_function(partial(_age, heartbeat))
    changes = Changes(log, NginxList(log, name, lambda: results.value, time.time() - boot_time()))
    live.watch(changes.settings_changed)
    return changes


@asynccontextmanager
async def hearing(
    settings: Settings,
    metrics: CatalogMetrics,
    stores: Stores,
    changes: Changes,
    invalidation: Invalidation,
    use_new_url: Callable[[str], None],
    look_at_trigger: Callable[[], None],
) -> AsyncIterator[None]:
    """Listen for changed rows and for tests of the trigger in Postgres, and for what other replicas say."""
    postgres, redis = settings.postgres, stores.redis
    name = "postgres.listen_dsn" if postgres.listen_dsn is not None else "postgres.dsn"
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        if postgres.listen:
            addresses = await opened(aclosing(ServerAddresses(postgres.primary_dsn(), postgres.timeout, name=name)))
            feed = ChangeFeed(addresses, metrics, stores.catalog.positions)
            await opened(background("change-feed", feed.listen(invalidation, look_at_trigger)))
        if redis is not None:
            await opened(background("invalidation-channel", redis.channel.listen(changes.log, use_new_url)))
            await opened(background("publish-changes", redis.channel.publish_sweeps(changes.log)))
        tried = asyncio.Event()
        changes.log.add_observer(tried.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LISTENING_TIMEOUT):
                while not changes.log.has_tried():
                    tried.clear()
                    await tried.wait()
        changes.log.serves = True
        yield


def _age(heartbeat: Heartbeat) -> float:
    return heartbeat.age(boot_time())


def _results(settings: Settings) -> str:
    """Return a hash of the settings by which an address leads to other bytes, or is for other callers."""
    sections = settings.model_dump(
        mode="json",
        include={
            "image_styles": True,
            "image_variants": True,
            "cos": {"bucket", "region"},
            "postgres": {"table", "columns"},
        },
        exclude={"image_variants": {"max_new_per_minute"}},
    )
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:16]
