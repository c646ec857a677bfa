"""The cache of presigned URLs as operators see it: its statistics, and how they purge images from it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.api.authentication import FACTS
from gateway.api.json_bodies import image_ids_in, read_json, success
from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest, RouteNotFound
from gateway.redis_entries.daily_statistics import DailyStatistics
from gateway.redis_entries.usage_store import UsageStore
from gateway.redis_queue.leased_queue import LeasedQueue
from gateway.settings import Live, UrlPrerefreshSettings
from gateway.urls.invalidation import Invalidation
from gateway.urls.metrics import UrlMetrics
from gateway.urls.refresh_worker import RefreshReport

_NUMBER: Final = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Handlers for operators: the state of the cache of presigned URLs, and its statistics of the last days.

    report: the results of renewals since the start.
    daily: None without ``url_stats.enabled``.
    now: returns Unix seconds by COS's clock.
    """

    usage: UsageStore
    queue: LeasedQueue
    metrics: UrlMetrics
    report: RefreshReport
    renewal: Live[UrlPrerefreshSettings]
    daily: DailyStatistics | None
    now: Callable[[], float]

    async def stats(self, _: web.Request) -> web.Response:
        """Return the state. Times are in Unix seconds."""
        now, report = self.now(), self.report
        attempts = report.success_count + report.error_count
        cached, soon = await self.usage.cached(now, self.renewal.value.threshold)
        lengths = await self.queue.state(now)
        return success(
            {
                "total_cached_urls": cached,
                "expiring_soon": soon,
                "refresh_queue_length": lengths.queued,
                "refresh_due": lengths.due,
                "refresh_dead": lengths.dead,
                "cache_hit_rate": self.metrics.hit_rate(),
                "hit_rate_by_tier": {tier: self.metrics.hit_rate(tier) for tier in ("local", "redis")},
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

    async def daily_stats(self, request: web.Request) -> web.Response:
        """Return the statistics of the last days, today first."""
        if self.daily is None:
            raise RouteNotFound("url_stats.enabled is off")
        retention = self.daily.retention_days
        text = request.query.get("days", "7")
        if not (_NUMBER.fullmatch(text) and 1 <= int(text) <= retention):
            raise InvalidRequest(f"days must be 1 to {retention}")
        return success({"days": await self.daily.read(int(text))})


@dataclass(frozen=True, slots=True)
class CachePurges:
    """Handlers with which an operator drops images from the URL cache, on every replica or in this process."""

    invalidation: Invalidation

    async def purge(self, request: web.Request) -> web.Response:
        """Invalidate images on every replica. The next request looks them up again."""
        image_ids = [parse_image_id(image_id) for image_id in image_ids_in(await read_json(request))]
        request[FACTS] = {"image_ids": image_ids}
        heard_by = await self.invalidation.drop(image_ids)
        return success({"purged": len(image_ids), "heard_by": heard_by})

    async def drop(self, request: web.Request) -> web.Response:
        """Invalidate images in this process alone: the parent of workers lets a worker purge, and the others drop."""
        image_ids = [parse_image_id(image_id) for image_id in image_ids_in(await read_json(request))]
        for image_id in image_ids:
            self.invalidation.drop_here(image_id)
        return success({"dropped": len(image_ids)})
