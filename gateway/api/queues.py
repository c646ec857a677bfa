"""The queues of renewals and purges: their lengths, what is due next, and what was given up."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gateway.api.json_bodies import json_in, read_body, success
from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest, RouteNotFound
from gateway.presign.style_variants import RENDITION_NAME, ImageVariant
from gateway.process.log_format import redact
from gateway.redis_queue.leased_queue import LeasedQueue
from gateway.redis_queue.purge_queue import PurgeQueue

MOST_LISTED: Final = 100  # entries of each kind in an answer; the lengths are exact
_RENDITION: Final = re.compile(RENDITION_NAME)


@dataclass(frozen=True, slots=True)
class QueueCalls:
    """Handlers for operators: show Redis's queues of renewals and purges, and requeue the failed ones.

    purges: None if ``purge`` is not configured. The handlers raise ``CacheUnavailable`` (503) while Redis is down.
    """

    refreshes: LeasedQueue
    purges: PurgeQueue | None
    now: Callable[[], float]

    async def queue(self, _: web.Request) -> web.Response:
        """Return the next renewals, and the renewals given up. ``purges``: the same of purges, if configured."""
        now = self.now()
        refreshes = await _listed(self.refreshes, now)
        purges = await _listed(self.purges, now) if self.purges is not None else None
        return success(refreshes | {"purges": purges})

    async def requeue(self, request: web.Request) -> web.Response:
        """Make failed renewals due now, those that the body names or all. With ``?queue=purges``: all failed purges."""
        name = request.query.get("queue", "renewals")
        if name not in {"renewals", "purges"}:
            raise InvalidRequest("queue must be renewals or purges")
        entries = _entries_in(json_in(body) if (body := await read_body(request)) else {})
        if name == "renewals":
            return success({"requeued": await self.refreshes.requeue(self.now(), entries)})
        if entries is not None:
            raise InvalidRequest("entries choose renewals, not purges")
        if self.purges is None:
            raise RouteNotFound("purge is not configured")
        return success({"requeued": await self.purges.requeue(self.now())})


async def _listed(queue: LeasedQueue, now: float) -> dict[str, Any]:
    """Return the lengths and first entries of a queue. ``lag``: seconds since the first entry was due."""
    lengths = await queue.state(now)
    first = await queue.first(MOST_LISTED)
    return {
        "length": lengths.queued,
        "due": lengths.due,
        "lag": max(0.0, now - first[0].due_at) if first and lengths.due else 0.0,
        "dead": lengths.dead,
        "next": [_names(queue, claim.item) | {"due_at": claim.due_at} for claim in first],
        "dead_entries": await dead_entries(queue),
    }


async def dead_entries(queue: LeasedQueue) -> list[dict[str, Any]]:
    """Return the first entries that were given up, without signatures and tokens in their reasons."""
    return [
        _names(queue, entry.item) | {"reason": redact(entry.reason), "at": entry.at, "attempts": entry.attempts}
        for entry in await queue.dead(MOST_LISTED)
    ]


def _names(queue: LeasedQueue, item: ImageVariant) -> dict[str, str | None]:
    """Return what names an entry: a renewal is of a variant, a purge of an image."""
    style = {} if isinstance(queue, PurgeQueue) else {"style": item.rendition}
    return {"image_id": item.image_id, **style}


def _entries_in(body: object) -> list[ImageVariant] | None:
    """Return the entries that ``{"entries": [{"image_id": …, "style": …}]}`` names, None for ``{}``."""
    match body:
        case {"entries": [*entries]} if 1 <= len(entries) <= MOST_LISTED:
            return [_entry_in(entry) for entry in entries]
        case dict() if not body:
            return None
    raise InvalidRequest(f"the body must be {{}}, or have 1 to {MOST_LISTED} entries of the dead list")


def _entry_in(entry: object) -> ImageVariant:
    match entry:
        case {"image_id": str(image_id), "style": None}:
            return ImageVariant(parse_image_id(image_id))
        case {"image_id": str(image_id), "style": str(style)} if _RENDITION.fullmatch(style):
            return ImageVariant(parse_image_id(image_id), style)
    raise InvalidRequest('an entry must be {"image_id": …, "style": … or null}')
