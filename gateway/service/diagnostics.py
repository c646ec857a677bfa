"""The part that shows operators how the gateway does: readiness, the history of the console, the canary."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from gateway.access.canary_mark import CanaryMark
from gateway.concurrency.background import background
from gateway.metrics.history import History
from gateway.monitoring.buckets_probe import BucketsProbe, ObjectQuestions
from gateway.monitoring.health import Health, Probe
from gateway.monitoring.metrics import MonitoringMetrics, measure_loop_lag
from gateway.monitoring.symptoms import CurrentSymptoms
from gateway.monitoring.this_replica import ThisReplica, keep_recording
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.origin.client import OriginClient
from gateway.process.logs import worker_number
from gateway.service.access import Access
from gateway.service.images import Images
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing
from gateway.service.stores import Stores, shared_secret
from gateway.service.urls import Urls, rows_missed
from gateway.settings import Live, Settings


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """The objects that answer operators. ``replica`` records its history and publishes its state every five seconds."""

    health: Health
    replica: ThisReplica
    trigger_watch: TriggerWatch


@asynccontextmanager
async def open_diagnostics(
    live: Live[Settings], metrics: Metrics, access: Access, urls: Urls, images: Images
) -> AsyncIterator[Diagnostics]:
    """Probe the dependencies, record the history and watch the trigger, in the background."""
    settings, signing, redis, origin = live.value, urls.signing, urls.stores.redis, images.origin
    trigger_watch = TriggerWatch(
        urls.stores.catalog.triggers, metrics.monitoring, partial(rows_missed, urls.stores.catalog, urls.invalidation)
    )
    health = _health(live, metrics.monitoring, access, urls, origin, trigger_watch)
    history = History(metrics.counted, time.time())

    def paused() -> list[str]:
        return [bucket for bucket in settings.cos.regions if origin.is_paused(bucket)]

    symptoms = CurrentSymptoms(health, history, metrics.gauges, signing.clock, signing.credentials, paused)
    replica = ThisReplica(
        history,
        symptoms,
        metrics.events,
        metrics.findings,
        redis.replicas if redis is not None else None,
        entry_key=lambda: redis.mac.fingerprint if redis is not None else None,
        streams=lambda: images.handler.streams,
        now=signing.clock.now,
        worker=worker_number(),
    )
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        await opened(background("loop-lag", measure_loop_lag(metrics.monitoring.event_loop_lag)))
        await opened(background("health", health.watch()))
        if settings.postgres.listen:
            await opened(background("trigger-watch", trigger_watch.run()))
        stack.push_async_callback(replica.withdraw)
        await opened(background("history", keep_recording(replica, metrics.registry.background_errors)))
        yield Diagnostics(health, replica, trigger_watch)


def _health(
    live: Live[Settings],
    metrics: MonitoringMetrics,
    access: Access,
    urls: Urls,
    origin: OriginClient,
    trigger_watch: TriggerWatch,
) -> Health:
    signing, clock, catalog, redis = urls.signing, urls.signing.clock, urls.stores.catalog, urls.stores.redis
    questions = ObjectQuestions(origin, lambda image: signing.signer.sign(image).url, clock.refused_at, clock.now)
    sample = partial(catalog.random_images, 20)
    buckets = BucketsProbe(questions, live.value.cos.regions, metrics, sample=sample, observe=clock.observe)

    async def changes() -> None:
        await urls.changes.probe()
        trigger_watch.check()

    def probes() -> dict[str, Probe]:
        credentials, keys = signing.credentials, access.key_set.value
        found: dict[str, Probe] = {"postgres": catalog.probe, "cos": buckets.probe}
        if urls.changes.log.heartbeats:
            found["changes"] = changes
        if redis is not None:
            found["redis"] = redis.probe.run
        if credentials.can_end:
            found["credentials"] = credentials.check_life
        if keys is not None:
            found["jwks"] = keys.probe
        return found

    return Health(
        probes,
        metrics,
        may_serve=lambda: buckets.may_serve,
        serves_without_stores=lambda: live.value.server.ready_without_stores and urls.resolver.serves_from_memory(),
        needs_rows=lambda: not live.value.server.ready_without_rows,
    )


@asynccontextmanager
async def open_canary(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, origin: OriginClient
) -> AsyncIterator[CanaryMark]:
    """Ask in the background, after a reload as it says. Yield what knows the canary's requests from those of users.

    Without the section ``canary``, nothing is asked, and the modules of the canary are not imported.
    """
    changed, mark = asyncio.Event(), CanaryMark(live.map(shared_secret))
    live.watch(lambda old, new: changed.set() if old.canary != new.canary else None)

    async def keep_asking() -> None:
        while True:
            changed.clear()
            async with AsyncExitStack() as stack:
                if live.value.canary is not None:
                    from gateway.service.canary import asking

                    await stack.enter_async_context(asking(live, metrics, signing, stores, origin, mark))
                await changed.wait()
            metrics.canary.clear()

    async with background("canary", keep_asking()):
        yield mark
