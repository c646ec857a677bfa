"""Queues as JSON: their lengths, what is due next, and what was given up."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from gateway.presign.signed_image import ImageVariant
from gateway.process.log_format import redact
from gateway.redis_queue.leased_queue import LeasedQueue

T = TypeVar("T")

MOST_LISTED: Final = 100
"""Entries of each kind in an answer; the lengths are exact."""


async def listed(queue: LeasedQueue[T], names: Callable[[T], dict[str, str | None]], now: float) -> dict[str, Any]:
    """Return the lengths and first entries of a queue. ``lag``: seconds since the first entry was due.

    ``names`` returns the keys that an entry is named by. Raises ``CacheUnavailable``, as the next function does.
    """
    lengths = await queue.state(now)
    first = await queue.first(MOST_LISTED)
    return {
        "length": lengths.queued,
        "due": lengths.due,
        "lag": max(0.0, now - first[0].due_at) if first and lengths.due else 0.0,
        "dead": lengths.dead,
        "next": [names(claim.item) | {"due_at": claim.due_at} for claim in first],
        "dead_entries": await dead_entries(queue, names),
    }


async def dead_entries(queue: LeasedQueue[T], names: Callable[[T], dict[str, str | None]]) -> list[dict[str, Any]]:
    """Return the first entries that were given up, without signatures and tokens in their reasons."""
    return [
        names(entry.item) | {"reason": redact(entry.reason), "at": entry.at, "attempts": entry.attempts}
        for entry in await queue.dead(MOST_LISTED)
    ]


def variant_names(item: ImageVariant) -> dict[str, str | None]:
    return {"image_id": item.image_id, "style": item.rendition}


def image_names(item: str) -> dict[str, str | None]:
    return {"image_id": item}
