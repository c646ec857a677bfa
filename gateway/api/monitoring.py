"""Handlers for operators: statistics, the queues of renewals and purges, purging, new URLs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.api.admin import admin_only
from gateway.api.app_keys import (
    AUTHORIZED_LOOKUP,
    CLOCK,
    DAILY_STATISTICS,
    INVALIDATION,
    PUBLIC_URLS,
    PURGE_QUEUE,
    REFRESH_QUEUE,
    REFRESH_WORKER,
    RELOADER,
    RESOLVER,
    USAGE_STORE,
)
from gateway.api.batch import image_ids_in
from gateway.api.images import renew, renewed, state_of
from gateway.api.json_body import json_body, json_in, read_body
from gateway.api.json_responses import success
from gateway.api.link_handlers import kill_all, links_of
from gateway.api.queue_listing import MOST_LISTED, image_names, listed, variant_names
from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest, RedisUnavailable, RouteNotFound
from gateway.presign.renditions import RENDITION_NAME
from gateway.presign.signed_image import ImageVariant
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.urls.refresh_worker import RefreshReport

_MOST_DIGITS = 10
_RENDITION = re.compile(RENDITION_NAME)


async def stats(request: web.Request) -> web.Response:
    """Return the state of the cache of presigned URLs; times in Unix seconds."""
    app, now = request.app, request.app[CLOCK].now()
    queue, lookup_counts = _queue(request), app[RESOLVER].lookup_counts
    report = app[REFRESH_WORKER].report if REFRESH_WORKER in app else RefreshReport()
    attempts = report.success_count + report.error_count
    async with _redis_errors():
        cached, soon = await app[USAGE_STORE].cached(now, app[RELOADER].settings.url_prerefresh.threshold)
        lengths = await queue.lengths(now)
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


async def daily_stats(request: web.Request) -> web.Response:
    """Return the statistics of the last days, today first."""
    daily = request.app.get(DAILY_STATISTICS)
    if daily is None:
        raise RouteNotFound
    retention = daily.retention_days
    text = request.query.get("days", "7")
    # int() raises for more than 4,300 digits (sys.int_info.default_max_str_digits).
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and 1 <= int(text) <= retention):
        raise InvalidRequest(f"days must be 1 to {retention}")
    async with _redis_errors():
        return success({"days": await daily.read(int(text))})


async def queue(request: web.Request) -> web.Response:
    """Return the next renewals and those that failed for good; in ``purges`` the same of purges, if configured."""
    refresh_queue, now = _queue(request), request.app[CLOCK].now()
    purge_queue = request.app.get(PURGE_QUEUE)
    async with _redis_errors():
        renewals = await listed(refresh_queue, variant_names, now)
        purges = await listed(purge_queue, image_names, now) if purge_queue is not None else None
    return success(renewals | {"purges": purges})


@admin_only
async def requeue(request: web.Request) -> web.Response:
    """Make renewals that failed for good due now: those that the body names, or all without a body.

    With ``?queue=purges``: all purges.
    """
    name, app = request.query.get("queue", "renewals"), request.app
    if name not in {"renewals", "purges"}:
        raise InvalidRequest("queue must be renewals or purges")
    entries = _entries_in(json_in(body) if (body := await read_body(request)) else {})
    if name == "renewals":
        async with _redis_errors():
            return success({"requeued": await _queue(request).requeue(app[CLOCK].now(), entries)})
    if entries is not None:
        raise InvalidRequest("entries choose renewals, not purges")
    if PURGE_QUEUE not in app:
        raise RouteNotFound("purge is not configured")
    async with _redis_errors():
        moved = await app[PURGE_QUEUE].requeue(app[CLOCK].now())
    return success({"requeued": moved})


@admin_only
async def purge(request: web.Request) -> web.Response:
    """Invalidate images on every replica; the next request looks them up again."""
    image_ids = [parse_image_id(one) for one in image_ids_in(await json_body(request))]
    await request.app[INVALIDATION].invalidate_everywhere(image_ids)
    return success({"purged": len(image_ids)})


@admin_only
async def refresh(request: web.Request) -> web.Response:
    """Sign a new presigned URL of any user's image; return it if everybody may see the image, else null."""
    image_id = parse_image_id(request.match_info["image_id"])
    image = await renew(request.app, image_id)
    shows_url = request.app[AUTHORIZED_LOOKUP].shows_everybody(image)
    return renewed(image_id, request.app[PUBLIC_URLS].presign(image), shows_url=shows_url)


@admin_only
async def status(request: web.Request) -> web.Response:
    """Return the state of any user's image, as the owner gets it on the public port."""
    image_id = parse_image_id(request.match_info["image_id"])
    return await state_of(request, image_id, (await request.app[RESOLVER].peek(image_id)).presigned)


@admin_only
async def kill_links(request: web.Request) -> web.Response:
    """Invalidate every link to any user's image."""
    links_of(request)
    image_id = parse_image_id(request.match_info["image_id"])
    await request.app[RESOLVER].peek(image_id)  # raises ``ImageNotFound``
    return await kill_all(request.app, image_id)


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


def _queue(request: web.Request) -> RefreshQueue:
    found = request.app.get(REFRESH_QUEUE)
    if found is None:
        raise RouteNotFound("url_cache.enabled is off")
    return found


@asynccontextmanager
async def _redis_errors() -> AsyncIterator[None]:
    try:
        yield
    except CacheUnavailable as error:
        raise RedisUnavailable(str(error)) from error
