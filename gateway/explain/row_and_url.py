"""Explain step: the row in Postgres; the presigned URLs in this process and in Redis, and their renewal."""

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.catalog.postgres import PostgresCatalog
from gateway.catalog.record import ImageRecord
from gateway.changes.nginx_list import NginxList
from gateway.concurrency.clocks import boot_time
from gateway.errors import CatalogUnavailable, DependencyDown
from gateway.explain.explanation import Facts
from gateway.findings.catalogue import known_remedy
from gateway.presign.signer import SignedImage, Signer
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.process.log_format import redact
from gateway.redis_entries.url_entries import EntryLookUp, UrlEntries
from gateway.redis_queue.leased_queue import LeasedQueue
from gateway.urls.local_tier import LocalState
from gateway.urls.resolver import Entries, UrlResolver

_NO_ROW_ADVICE = "check the id; postgres.table and postgres.columns.id name the table and the column that is searched"
_ROW_ADVICE = "look at the row; postgres.table and postgres.columns name the table and its columns"
_NOT_ASKED: Final = "not asked: GET /api/v1/monitoring/explain on the admin port asks a running gateway"


@dataclass(frozen=True, slots=True)
class CachedUrls:
    """The cached presigned URLs of an image: the facts to print, and the entries that a request finds."""

    facts: Facts
    entries: Entries
    in_redis: EntryLookUp


@dataclass(frozen=True, slots=True)
class RowFinding:
    """What Postgres says of an explained image's row. ``record``: None without a row that could be served."""

    record: ImageRecord | None
    facts: Facts
    why_not: str | None = None  # None: it is served
    error: CatalogUnavailable | None = None  # why it is not known whether there is a row
    advice: str = ""
    is_unread: bool = False  # a request cannot read it, and is answered by the record of a cached entry


@dataclass(frozen=True, slots=True)
class RowAndUrl:
    """Reads an explained image's row and cached URLs, without counting a use of the image.

    why_not_notified: looks for the trigger, and returns why changes are not notified. None: ``postgres.listen`` is off.
    nginx_list: None in a process that serves nothing, whose memory says nothing about the memory of the gateway.
    """

    catalog: PostgresCatalog
    signer: Signer
    resolver: UrlResolver
    shared: UrlEntries | None
    queue: LeasedQueue | None
    why_not_notified: Callable[[], Awaitable[str | None]] | None
    nginx_list: NginxList | None

    async def cached(self, variant: ImageVariant) -> CachedUrls:
        """Return the cached URL of an image. A Redis that does not answer is a fact, too."""
        found, in_redis = await self._in_redis(variant)
        entries = self.resolver.inspect(variant, found)
        if found.image is not None and entries.used is None:
            in_redis["state"] = "an entry, not used before its row is read again"
        memory, renewal = self._in_memory(entries.local), await self._refresh(variant)
        return CachedUrls({"memory": memory, "redis": in_redis, "renewal": renewal}, entries, found)

    async def row(self, image_id: str, cached: CachedUrls) -> RowFinding:
        """Return the row to go on with."""
        try:
            row = await self.catalog.inspect(image_id)
        except CatalogUnavailable as error:
            facts: Facts = {"state": f"not known: Postgres failed: {error}"}
            if cached.entries.without_row is None:
                advice = known_remedy("postgres", str(error), "dependency_down")
                return RowFinding(None, facts, error=error, advice=advice)
            facts["used"] = "that of the cached entry"
            used = cached.entries.used
            is_unread = used is None or used.image is None or used.image.unread
            return RowFinding(cached.entries.without_row.record, facts, is_unread=is_unread)
        facts = {}
        problem = "postgres.listen is off" if self.why_not_notified is None else await self.why_not_notified()
        if problem:
            facts["changes"] = f"not notified: {problem}"
        if in_use := self._earlier_row(cached, row.record if row is not None and row.reason is None else None):
            facts["in_use"] = in_use
        if row is None:
            return RowFinding(
                None, {"state": "none", **facts}, "the table has no row with this id", advice=_NO_ROW_ADVICE
            )
        facts = {"state": "not served" if row.reason is not None else "served", "status": row.status, **facts}
        facts |= {"why": row.reason} if row.reason is not None else {}
        facts |= _facts_of(row.record) if row.record is not None else {}
        why_not = f"the row is not served: {row.reason}" if row.reason is not None else None
        return RowFinding(row.record, facts, why_not, advice=_ROW_ADVICE)

    def in_use(self, cached: CachedUrls, record: ImageRecord) -> SignedImage | None:
        """Return the cached image that a request uses if the row is ``record``. None: a URL has to be signed."""
        used = cached.entries.used
        if used is not None and used.image is not None and used.image.record == record:
            return used.image
        return self.resolver.unchanged(cached.in_redis, record)

    def forgotten(self, image_id: str) -> str:
        """Return which copies nginx has forgotten, if it asks for changes."""
        if self.nginx_list is None:
            return _NOT_ASKED
        at, is_change = self.nginx_list.last_change(image_id, boot_time())
        known = f"the last change was {max(0, round(time.time() - at))} s ago" if is_change else "no change since then"
        return f"no copy from before {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}: {known}"

    async def variants(self, image_id: str, renditions: Renditions) -> Facts:
        """Return each style with its widths and formats, its audience, and its URLs in Redis."""
        names = renditions.names
        cached: set[str | None] | None = set()
        if self.shared is not None and names:
            try:
                headers = await self.shared.read_headers([ImageVariant(image_id, name) for name in names])
                cached = {variant.rendition for variant, header in headers.items() if header.expires_at is not None}
            except DependencyDown:
                cached = None

        def facts(style: str) -> Facts:
            own = [name for name in names if renditions.get(name).style == style]
            return {
                "may_be_seen_by": "everybody" if renditions.is_public(own[0]) else "callers who may see the image",
                **{name: list(listed) for name, listed in renditions.describe(style).items()},
                "cached_in_redis": [name for name in own if name in cached] if cached is not None else "not known",
            }

        return {style: facts(style) for style in renditions.styles}

    def _earlier_row(self, cached: CachedUrls, record: ImageRecord | None) -> str:
        """Return that a request uses an earlier row than ``record``, and for how long. Empty if it does not."""
        used = cached.entries.used
        if used is None or (used.image.record if used.image is not None else None) == record:
            return ""
        if used.image is None:
            return f"the gateway remembers that there is no such image, for {math.ceil(used.fresh_for)} s at most"
        seconds = max(0, round(self.resolver.urls.usable_for(used.image)))
        return f"the gateway uses an earlier row, for {seconds} s at most"

    def _in_memory(self, state: LocalState | None) -> Facts:
        if self.nginx_list is None:
            return {"state": _NOT_ASKED}
        if state is None:
            return {"state": "nothing"}
        if state.image is None:
            return {"state": "remembered as missing", "seconds_left": round(state.fresh_for, 1)}
        word = "fresh" if state.fresh_for > 0 else "stale: Redis or the row is read again"
        return {"state": word, "fresh_for_seconds": round(state.fresh_for, 1), **self._life(state.image)}

    async def _in_redis(self, variant: ImageVariant) -> tuple[EntryLookUp, Facts]:
        if self.shared is None:
            return EntryLookUp(), {"state": "turned off by url_cache.enabled"}
        try:
            found = (await self.shared.find([variant]))[variant]
        except DependencyDown as error:
            return EntryLookUp(), {"state": f"Redis does not answer: {error}"}
        if found.image is not None:
            read_ago = round(self.resolver.urls.now() - found.image.read_at)
            return found, {"state": "an entry", "row_read_seconds_ago": read_ago, **self._life(found.image)}
        if found.expires_at is not None:
            reason = "an entry that is not used: written with another key, another domain or another release"
            return found, {"state": reason, "expires_at": found.expires_at}
        return found, {"state": "dropped a moment ago: the row has changed" if found.tombstone else "nothing"}

    async def _refresh(self, variant: ImageVariant) -> Facts:
        if self.queue is None:
            return {"state": "none"}
        try:
            due_at, dead = await self.queue.due_at(variant), await self.queue.dead_entry(variant)
        except DependencyDown as error:
            return {"state": f"not known: {error}"}
        facts: Facts = {"state": "queued" if due_at is not None else "not queued"}
        if due_at is not None:
            facts |= {"due_at": int(due_at), "due_in_seconds": round(due_at - self.resolver.urls.now())}
        if dead is not None:
            reason, at = redact(dead.reason), int(dead.at)
            facts |= {"state": "given up", "attempts": dead.attempts, "reason": reason, "given_up_at": at}
        return facts

    def _life(self, image: SignedImage) -> Facts:
        presigned = image.presigned
        return {
            "signed_at": presigned.signed_at,
            "expires_at": presigned.expires_at,
            "seconds_left": round(presigned.expires_at - self.resolver.urls.now()),
            "handed_out_for_seconds": max(0, round(self.resolver.urls.usable_for(image))),
        }


def _facts_of(record: ImageRecord) -> Facts:
    return {
        "owner": record.owner,
        "visibility": "public" if record.public else "private",
        "bucket": record.bucket,
        "region": record.region,
        "key": record.key,
        "type": record.content_type,
        "links_killed": record.links_killed,
    }
