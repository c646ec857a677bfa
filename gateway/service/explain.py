"""Explanations of why an image is served or not. A process reads these modules when it is first asked for one."""

from collections.abc import Mapping, Sequence

from gateway.changes.nginx_list import NginxList
from gateway.explain.access import Credentials
from gateway.explain.explainer import PARAMETERS, Explainer
from gateway.explain.explanation import Explanation
from gateway.explain.origin import OriginStep
from gateway.explain.row_and_url import RowAndUrl
from gateway.metrics.canary import CanaryOutcome, CanaryOutcomes
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.canary_rounds import CanaryRounds
from gateway.service.access import Access
from gateway.service.images import Images
from gateway.service.service import Service
from gateway.service.urls import Urls
from gateway.settings import Live, Settings


async def explained(
    service: Service, image_id: str, given: Sequence[str | None], query: Mapping[str, str]
) -> Explanation:
    """Return the explanation for the holder of ``given``: a token, a link, or a user's id; see ``Credentials``."""
    watch, nginx_list = service.diagnostics.trigger_watch, service.changes.nginx_list
    access, urls, images, seen = service.access, service.urls, service.images, service.metrics.canary
    explainer = make_explainer(service.settings, access, urls, images, watch, seen, nginx_list)
    parameters = {name: query[name] for name in PARAMETERS if name in query}
    return await explainer.explain(image_id, Credentials(*given), parameters)


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
