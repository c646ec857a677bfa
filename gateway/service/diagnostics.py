"""The part that shows operators how the gateway does: readiness, explanations, the history of the console."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from gateway.changes.nginx_list import NginxList
from gateway.concurrency.background import background
from gateway.explain.explainer import Explainer
from gateway.explain.origin import OriginStep
from gateway.explain.row_and_url import RowAndUrl
from gateway.metrics.canary import CanaryOutcome, CanaryOutcomes
from gateway.metrics.history import History
from gateway.monitoring.buckets_probe import BucketsProbe, ObjectQuestions
from gateway.monitoring.health import Health
from gateway.monitoring.metrics import MonitoringMetrics, measure_loop_lag
from gateway.monitoring.symptoms import CurrentSymptoms
from gateway.monitoring.this_replica import ThisReplica, keep_recording
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.origin.client import OriginClient
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.canary_rounds import CanaryRounds
from gateway.service.access import Access
from gateway.service.images import Images
from gateway.service.metrics import Metrics
from gateway.service.urls import Urls, rows_missed
from gateway.settings import Live, Settings
from gateway.urls.on_demand_refresh import correct_clock


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """The objects that answer operators. ``replica`` records its history and publishes its state every five seconds."""

    health: Health
    explainer: Explainer
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
    explainer = make_explainer(live, access, urls, images, trigger_watch, metrics.canary, urls.changes.nginx_list)
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
    )
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        await opened(background("loop-lag", measure_loop_lag(metrics.monitoring.event_loop_lag)))
        await opened(background("health", health.watch()))
        if settings.postgres.listen:
            await opened(background("trigger-watch", trigger_watch.run()))
        stack.push_async_callback(replica.withdraw)
        await opened(background("history", keep_recording(replica, metrics.registry.background_errors)))
        yield Diagnostics(health, explainer, replica, trigger_watch)


def make_explainer(
    live: Live[Settings],
    access: Access,
    urls: Urls,
    images: Images,
    trigger_watch: TriggerWatch,
    seen: CanaryOutcomes,
    nginx_list: NginxList | None,
) -> Explainer:
    """Return what explains why an image is served or not. ``nginx_list`` is None in a process that serves no images."""
    signing, redis = urls.signing, urls.stores.redis

    async def outside() -> Sequence[CanaryOutcome]:
        canary = live.value.canary
        if seen.latest or canary is None or redis is None:
            return seen.latest
        try:
            return (await CanaryRounds(redis.shards, canary).read())[0]
        except CacheUnavailable:
            return ()

    entries, queue = (redis.entries, redis.queue) if redis is not None else (None, None)
    problem = trigger_watch.problem if live.value.postgres.listen else None
    row_and_url = RowAndUrl(urls.stores.catalog, signing.signer, urls.resolver, entries, queue, problem, nginx_list)
    origin = OriginStep(images.origin, urls.resolver, signing.clock, images.failures)
    requests, refused, rules = images.variant_requests, images.refused, images.rules
    return Explainer(access.authenticator, requests, row_and_url, origin, refused, rules, outside)


def _health(
    live: Live[Settings],
    metrics: MonitoringMetrics,
    access: Access,
    urls: Urls,
    origin: OriginClient,
    trigger_watch: TriggerWatch,
) -> Health:
    signing, clock, catalog, redis = urls.signing, urls.signing.clock, urls.stores.catalog, urls.stores.redis
    correct = partial(correct_clock, clock, urls.resolver)
    questions = ObjectQuestions(origin, lambda image: signing.signer.sign(image).url, correct, clock.now)
    sample = partial(catalog.random_images, 20)
    buckets = BucketsProbe(questions, live.value.cos.regions, metrics, sample=sample, observe=clock.observe)

    async def changes() -> None:
        await urls.changes.probe()
        trigger_watch.check()

    probes = {"postgres": catalog.probe, "cos": buckets.probe}
    if urls.changes.log.heartbeats:
        probes["changes"] = changes
    if redis is not None:
        probes["redis"] = redis.probe.run
    health = Health(
        probes,
        metrics,
        may_serve=lambda: buckets.may_serve,
        serves_without_stores=lambda: live.value.server.ready_without_stores and urls.resolver.serves_from_memory(),
        needs_rows=lambda: not live.value.server.ready_without_rows,
    )

    def look_again(*_: Settings) -> None:
        credentials, keys = signing.credentials, access.key_set.value
        health.set_probe("credentials", credentials.check_life if credentials.can_end else None)
        health.set_probe("jwks", keys.probe if keys is not None else None)

    look_again()
    live.watch(look_again)
    return health
