"""Handlers for operators: statistics, the queues of renewals and purges, purging, new URLs."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.api.audited import FACTS
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.batch import image_ids_in
from gateway.api.image_state import ImageState
from gateway.api.json_body import Bodies, json_in
from gateway.api.json_responses import success
from gateway.api.link_handlers import LinkKills
from gateway.api.new_urls import NewUrls
from gateway.api.queue_listing import MOST_LISTED, image_names, listed, variant_names
from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest, RedisUnavailable, RouteNotFound
from gateway.presign.renditions import RENDITION_NAME
from gateway.presign.signed_image import ImageVariant
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.daily_statistics import DailyStatistics
from gateway.redis_entries.usage_store import UsageStore
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.redis_queue.refresh_queue import RefreshQueue
from gateway.urls.invalidation import Invalidation
from gateway.urls.metrics import LookupCounts
from gateway.urls.refresh_worker import RefreshReport
from gateway.urls.resolver import UrlResolver

_MOST_DIGITS = 10
_RENDITION = re.compile(RENDITION_NAME)


class CacheStatistics:
    """The state of the cache of presigned URLs. ``threshold`` returns ``url_prerefresh.threshold``, in seconds."""

    def __init__(
        self,
        usage: UsageStore,
        queue: RefreshQueue,
        lookup_counts: LookupCounts,
        report: Callable[[], RefreshReport],
        threshold: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._usage = usage
        self._queue = queue
        self._lookup_counts = lookup_counts
        self._report = report
        self._threshold = threshold
        self._now = now

    async def stats(self, _: web.Request) -> web.Response:
        """Return the state. Times are in Unix seconds."""
        now, report, lookup_counts = self._now(), self._report(), self._lookup_counts
        attempts = report.success_count + report.error_count
        async with _redis_errors():
            cached, soon = await self._usage.cached(now, self._threshold())
            lengths = await self._queue.state(now)
        return success(
            {
                "total_cached_urls": cached,
                "expiring_soon": soon,
                "refresh_queue_length": lengths.queued,
                "refresh_due": lengths.due,
                "refresh_dead": lengths.dead,
                "cache_hit_rate": lookup_counts.hit_rate(),
                "hit_rate_by_tier": {tier: lookup_counts.hit_rate(tier) for tier in ("local", "redis")},
                "last_updated": int(now),
                "refresh": {
                    "running": report.running,
                    "last_run": report.last_run,
                    "total_refreshed": report.results["renewed"],
                    "success_count": report.success_count,
                    "error_count": report.error_count,
                    "success_rate": report.success_count / attempts if attempts else None,
                    "results": dict(report.results),
                },
            }
        )


class DailyReport:
    """The statistics of the last days."""

    def __init__(self, daily: DailyStatistics) -> None:
        self._daily = daily

    async def daily_stats(self, request: web.Request) -> web.Response:
        """Return the statistics of the last days, today first."""
        retention = self._daily.retention_days
        text = request.query.get("days", "7")
        # int() raises for more than 4,300 digits (sys.int_info.default_max_str_digits).
        if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and 1 <= int(text) <= retention):
            raise InvalidRequest(f"days must be 1 to {retention}")
        async with _redis_errors():
            return success({"days": await self._daily.read(int(text))})


class QueueCalls:
    """The queues of renewals and of purges. ``purges`` is None without ``purge``."""

    def __init__(
        self, queue: RefreshQueue, purges: PurgeQueue | None, now: Callable[[], float], bodies: Bodies
    ) -> None:
        self._queue = queue
        self._purges = purges
        self._now = now
        self._bodies = bodies

    async def queue(self, _: web.Request) -> web.Response:
        """Return the next renewals, and the renewals given up. ``purges``: the same of purges, if configured."""
        now = self._now()
        async with _redis_errors():
            refreshes = await listed(self._queue, variant_names, now)
            purges = await listed(self._purges, image_names, now) if self._purges is not None else None
        return success(refreshes | {"purges": purges})

    async def requeue(self, request: web.Request) -> web.Response:
        """Make renewals that failed for good due now: the renewals that the body names, or all without a body.

        With ``?queue=purges``: all purges.
        """
        name = request.query.get("queue", "renewals")
        if name not in {"renewals", "purges"}:
            raise InvalidRequest("queue must be renewals or purges")
        entries = _entries_in(json_in(body) if (body := await self._bodies.read(request)) else {})
        if name == "renewals":
            async with _redis_errors():
                return success({"requeued": await self._queue.requeue(self._now(), entries)})
        if entries is not None:
            raise InvalidRequest("entries choose renewals, not purges")
        if self._purges is None:
            raise RouteNotFound("purge is not configured")
        async with _redis_errors():
            return success({"requeued": await self._purges.requeue(self._now())})


class CachePurges:
    """Invalidations that an operator asks for."""

    def __init__(self, invalidation: Invalidation, bodies: Bodies) -> None:
        self._invalidation = invalidation
        self._bodies = bodies

    async def purge(self, request: web.Request) -> web.Response:
        """Invalidate images on every replica. The next request looks them up again."""
        image_ids = [parse_image_id(image_id) for image_id in image_ids_in(await self._bodies.json(request))]
        request[FACTS] = {"image_ids": image_ids}
        heard_by = await self._invalidation.drop(image_ids)
        return success({"purged": len(image_ids), "heard_by": heard_by})

    async def drop(self, request: web.Request) -> web.Response:
        """Invalidate images in this process alone: the parent of workers lets a worker purge, and the others drop."""
        image_ids = [parse_image_id(image_id) for image_id in image_ids_in(await self._bodies.json(request))]
        for image_id in image_ids:
            self._invalidation.drop_here(image_id)
        return success({"dropped": len(image_ids)})


class AdminImageCalls:
    """Calls of operators about an image of any user."""

    def __init__(
        self,
        resolver: UrlResolver,
        lookup: AuthorizedLookup,
        new_urls: NewUrls,
        state: ImageState,
        kills: LinkKills,
    ) -> None:
        self._resolver = resolver
        self._lookup = lookup
        self._new_urls = new_urls
        self._state = state
        self._kills = kills

    async def refresh(self, request: web.Request) -> web.Response:
        """Sign a new presigned URL of any user's image. Return the URL if everybody may see the image, else null."""
        image = await self._new_urls.sign(parse_image_id(request.match_info["image_id"]))
        return self._new_urls.response(image, self._lookup.for_everybody(image))

    async def status(self, request: web.Request) -> web.Response:
        """Return the state of any user's image, as the owner gets it on the public port."""
        image_id = parse_image_id(request.match_info["image_id"])
        return await self._state.response(image_id, (await self._resolver.peek(image_id)).presigned)

    async def kill_links(self, request: web.Request) -> web.Response:
        """Invalidate every link to any user's image."""
        _ = self._kills.links  # a 404 unless links are configured
        image_id = parse_image_id(request.match_info["image_id"])
        await self._resolver.peek(image_id)  # raises ``ImageNotFound``
        return await self._kills.kill_all(image_id)


def _entries_in(body: object) -> list[ImageVariant] | None:
    """Return the entries that ``{"entries": [{"image_id": …, "style": …}]}`` names, None for ``{}``."""
    match body:
        case {"entries": [*entries]} if 1 <= len(entries) <= MOST_LISTED:
            return [_entry_in(entry) for entry in entries]
        case dict() if not body:
            return None
        case _:
            raise InvalidRequest(f"the body must be {{}}, or have 1 to {MOST_LISTED} entries of the dead list")


def _entry_in(entry: object) -> ImageVariant:
    match entry:
        case {"image_id": str(image_id), "style": None}:
            return ImageVariant(parse_image_id(image_id))
        case {"image_id": str(image_id), "style": str(style)} if _RENDITION.fullmatch(style):
            return ImageVariant(parse_image_id(image_id), style)
    raise InvalidRequest('an entry must be {"image_id": …, "style": … or null}')


@asynccontextmanager
async def _redis_errors() -> AsyncIterator[None]:
    try:
        yield
    except CacheUnavailable as error:
        raise RedisUnavailable(str(error)) from error
