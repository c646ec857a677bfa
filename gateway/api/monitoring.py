"""Handlers for operators: statistics, the refresh queue, purging."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.api.admin import admin_only
from gateway.api.app_keys import (
    CLOCK,
    DAILY_STATISTICS,
    INVALIDATION,
    REFRESH_QUEUE,
    REFRESH_WORKER,
    RESOLVER,
    SETTINGS,
    USAGE_STORE,
)
from gateway.api.batch import image_ids_in
from gateway.api.json_body import json_body
from gateway.api.json_responses import success
from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest, RedisUnavailable, RouteNotFound
from gateway.redis_store.guarded_client import CacheUnavailable
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.urls.refresh_worker import RefreshReport

_MAX_ENTRIES = 100  # of the queue in a response
_MOST_DIGITS = 10


async def stats(request: web.Request) -> web.Response:
    """Return the state of the cache of presigned URLs; times in Unix seconds."""
    app, now = request.app, request.app[CLOCK].now()
    queue, lookup_counts = _queue(request), app[RESOLVER].lookup_counts
    report = app[REFRESH_WORKER].report if REFRESH_WORKER in app else RefreshReport()
    attempts = report.success_count + report.error_count
    async with _redis_errors():
        cached, soon = await app[USAGE_STORE].cached(now, app[SETTINGS].url_prerefresh.threshold)
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
    retention = request.app[SETTINGS].url_stats.retention_days
    text = request.query.get("days", "7")
    # int() raises for more than 4,300 digits (sys.int_info.default_max_str_digits).
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and 1 <= int(text) <= retention):
        raise InvalidRequest(f"days must be 1 to {retention}")
    async with _redis_errors():
        return success({"days": await daily.read(int(text))})


async def queue(request: web.Request) -> web.Response:
    """Return the next renewals, and those that failed for good."""
    refresh_queue, now = _queue(request), request.app[CLOCK].now()
    async with _redis_errors():
        lengths = await refresh_queue.lengths(now)
        first = await refresh_queue.first(_MAX_ENTRIES)
        dead = await refresh_queue.dead(_MAX_ENTRIES)
    return success(
        {
            "length": lengths.queued,
            "due": lengths.due,
            "dead": lengths.dead,
            "next": [
                {"image_id": claim.item.image_id, "style": claim.item.rendition, "due_at": claim.due_at}
                for claim in first
            ],
            "dead_entries": [
                {
                    "image_id": entry.item.image_id,
                    "style": entry.item.rendition,
                    "reason": entry.reason,
                    "at": entry.at,
                    "attempts": entry.attempts,
                }
                for entry in dead
            ],
        }
    )


@admin_only
async def requeue(request: web.Request) -> web.Response:
    """Schedule the renewals that failed for good again, for now."""
    async with _redis_errors():
        moved = await _queue(request).requeue(request.app[CLOCK].now())
    return success({"requeued": moved})


@admin_only
async def purge(request: web.Request) -> web.Response:
    """Invalidate images on every replica; the next request looks them up again."""
    image_ids = [parse_image_id(one) for one in image_ids_in(await json_body(request))]
    await request.app[INVALIDATION].invalidate_everywhere(image_ids)
    return success({"purged": len(image_ids)})


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
