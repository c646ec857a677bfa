"""Explain step: the cached presigned URL in this process and in Redis, and its renewal."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.catalog.record import ImageRecord
from gateway.errors import DependencyDown
from gateway.explain.explanation import Facts
from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import ImageVariant, PresignedUrl, SignedImage
from gateway.process.log_format import redact
from gateway.purge.heard_changes import HeardChanges
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.urls.local_tier import LocalState
from gateway.urls.shared_tier import SharedTier

_NOT_ASKED: Final = "not asked: GET /api/v1/monitoring/explain on the admin port asks a running gateway"

InspectLocal = Callable[[ImageVariant], LocalState | None]


@dataclass(frozen=True, slots=True)
class CachedUrls:
    """The facts to print, and the image whose URL a request would use now (None: one has to be signed)."""

    facts: Facts
    image: SignedImage | None = None


class CacheStep:
    """Reads the tiers of the URL cache without counting a use.

    inspect_local: None in a process that serves nothing, whose memory says nothing about the memory of the gateway.
    why_not_notified: looks for the change trigger, and returns why changes of rows are not notified, or None if they
    are notified. The function itself is None without ``postgres.listen``.
    heard: the list of changed images by which nginx drops its copies. None in a process that serves nothing.
    """

    def __init__(
        self,
        shared: SharedTier | None,
        queue: RefreshQueue | None,
        lifetime: Lifetime,
        inspect_local: InspectLocal | None,
        why_not_notified: Callable[[], Awaitable[str | None]] | None,
        heard: HeardChanges | None,
        now: Callable[[], float],
    ) -> None:
        self._shared = shared
        self._queue = queue
        self._lifetime = lifetime
        self._inspect_local = inspect_local
        self._why_not_notified = why_not_notified
        self._heard = heard
        self._now = now

    async def look(self, image_id: str, rendition: str | None = None) -> CachedUrls:
        """Return the cached URL of an image. A Redis that does not answer is a fact, too."""
        variant = ImageVariant(image_id, rendition)
        local, in_memory = self._in_memory(variant)
        shared, in_redis = await self._in_redis(variant)
        facts: Facts = {"memory": in_memory, "redis": in_redis, "renewal": await self._renewal(variant)}
        usable = next((image for image in (local, shared) if image is not None and self._is_usable(image)), None)
        return CachedUrls(facts, usable)

    async def changes(self) -> str:
        """Return why changes of rows are not notified. Empty if they are."""
        if self._why_not_notified is None:
            return "postgres.listen is off"
        return await self._why_not_notified() or ""

    def forgotten(self, image_id: str) -> str:
        """Return which copies nginx has forgotten, if it asks for changes."""
        if self._heard is None:
            return _NOT_ASKED
        at, is_change = self._heard.last_change(image_id)
        known = f"the last change was {max(0, round(time.time() - at))} s ago" if is_change else "no change since then"
        return f"no copy from before {_utc(at)}: {known}"

    def earlier_row(self, cached: CachedUrls, record: ImageRecord | None) -> str:
        """Return that the cached URL is of another row than ``record``, and for how long. Empty if it is not.

        ``record`` is None if the image is not served any more.
        """
        image = cached.image
        if image is None or image.record == record:
            return ""
        seconds = max(0, round(self._lifetime.usable_for(image.presigned, self._now())))
        return f"the gateway uses an earlier row, for {seconds} s at most"

    def _in_memory(self, variant: ImageVariant) -> tuple[SignedImage | None, Facts]:
        if self._inspect_local is None:
            return None, {"state": _NOT_ASKED}
        state = self._inspect_local(variant)
        if state is None:
            return None, {"state": "nothing"}
        if state.image is None:
            return None, {"state": "known as unknown", "seconds_left": round(state.fresh_for, 1)}
        word = "fresh" if state.fresh_for > 0 else "stale: Redis or the row is read again"
        facts = {"state": word, "fresh_for_seconds": round(state.fresh_for, 1), **self._life(state.image.presigned)}
        return (state.image if state.fresh_for > 0 else None), facts

    async def _in_redis(self, variant: ImageVariant) -> tuple[SignedImage | None, Facts]:
        if self._shared is None:
            return None, {"state": "turned off by url_cache.enabled"}
        try:
            header = (await self._shared.read_headers([variant]))[variant]
            found = (await self._shared.find([variant]))[variant]
        except DependencyDown as error:
            return None, {"state": f"Redis does not answer: {error}"}
        if found.image is not None:
            read_ago = round(self._now() - found.image.read_at)
            life = self._life(found.image.presigned)
            return found.image, {"state": "an entry", "row_read_seconds_ago": read_ago, **life}
        if header.expires_at is not None:
            reason = "an entry that is not used: written with another key, another domain or another release"
            return None, {"state": reason, "expires_at": header.expires_at}
        return None, {"state": "dropped a moment ago: the row has changed" if header.tombstone else "nothing"}

    async def _renewal(self, variant: ImageVariant) -> Facts:
        if self._queue is None:
            return {"state": "none"}
        try:
            due_at, dead = await self._queue.due_at(variant), await self._queue.dead_entry(variant)
        except DependencyDown as error:
            return {"state": f"not known: {error}"}
        facts: Facts = {"state": "queued" if due_at is not None else "not queued"}
        if due_at is not None:
            facts |= {"due_at": int(due_at), "due_in_seconds": round(due_at - self._now())}
        if dead is not None:
            facts |= {
                "state": "given up",
                "attempts": dead.attempts,
                "reason": redact(dead.reason),
                "given_up_at": int(dead.at),
            }
        return facts

    def _life(self, presigned: PresignedUrl) -> Facts:
        now = self._now()
        return {
            "signed_at": presigned.signed_at,
            "expires_at": presigned.expires_at,
            "seconds_left": round(presigned.expires_at - now),
            "handed_out_for_seconds": max(0, round(self._lifetime.usable_for(presigned, now))),
        }

    def _is_usable(self, image: SignedImage) -> bool:
        return self._lifetime.is_usable(image.presigned, self._now())


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
