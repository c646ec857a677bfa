"""The renewal of a batch of claimed URLs: one query, one pipeline, and every claim accounted for."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.catalog.record import Rows
from gateway.errors import CatalogUnavailable
from gateway.metrics import Metrics
from gateway.urls.lifetime import Lifetime
from gateway.urls.member import Member
from gateway.urls.presigned import SignedImage
from gateway.urls.redis_cache import Glance
from gateway.urls.redis_usage import RedisUsage
from gateway.urls.refresh_queue import Claim, RefreshQueue
from gateway.urls.shared_tier import SharedTier
from gateway.urls.signer import Signer

logger = logging.getLogger(__name__)

# Signing is a few microseconds; after so many, requests get their turn.
_SIGNED_AT_ONCE = 25
_POSTPONED_FOR = 5.0


class Catalog(Protocol):
    """Where rows come from."""

    async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
        """The rows of ``image_ids``; raises ``CatalogUnavailable``."""
        ...

    async def try_query(self) -> None:
        """Return when Postgres answers; raises ``CatalogUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class _Work:
    """A claim with what is known of it."""

    claim: Claim
    there: Glance


class Renewal:
    """Renews claims, whatever becomes of them: ``renew`` accounts for each under one of these results.

    ``renewed``; ``fresh`` (somebody had done it already); ``idle`` (nobody asked for it lately, so it lapses);
    ``gone`` (the image is); ``postponed`` (Postgres is away, or no credentials); ``failed`` (to be tried again);
    ``dead`` (given up).
    """

    def __init__(
        self,
        catalog: Catalog,
        signer: Signer,
        shared: SharedTier,
        queue: RefreshQueue,
        usage: RedisUsage,
        lifetime: Lifetime,
        metrics: Metrics,
        *,
        idle_after: float,
        forget: Callable[[Sequence[str]], Awaitable[None]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._signer = signer
        self._shared = shared
        self._queue = queue
        self._usage = usage
        self._lifetime = lifetime
        self._metrics = metrics
        self._idle_after = idle_after
        self._forget = forget
        self._now = now

    async def renew(self, claims: Sequence[Claim]) -> "Counter[str]":
        """Renew the claims; how many had which result. Raises ``CacheUnavailable``: the lease then gives them back."""
        results: Counter[str] = Counter()
        found = await self._shared.glance([claim.member for claim in claims])
        used = await self._usage.last_accesses([claim.member for claim in claims])
        work: list[_Work] = []
        fresh: dict[Member, float] = {}
        idle: list[Member] = []
        for claim in claims:
            member, there = claim.member, found[claim.member]
            last_access, _ = used[member]
            if last_access is None or last_access < self._now() - self._idle_after:
                idle.append(member)
            elif (due := self._still_fresh_until(there)) is not None:
                fresh[member] = due
            elif not self._signer.knows_style(member.style):
                idle.append(member)
            else:
                work.append(_Work(claim, there))
        await self._queue.ack(fresh)
        await self._queue.remove(idle)
        results.update(fresh=len(fresh), idle=len(idle))
        if work:
            results += await self._renew(work, {member: count for member, (_, count) in used.items()})
        for result, count in results.items():
            self._metrics.refresh.labels(result=result).inc(count)
        return results

    def _still_fresh_until(self, there: Glance) -> float | None:
        """Until when the entry needs no renewal: a worker that died may have renewed it before, or a request."""
        if there.expires_at is None:
            return None
        fresh_until = self._lifetime.fresh_until(there.expires_at)
        return fresh_until if fresh_until > self._now() else None

    async def _renew(self, work: Sequence[_Work], hits: Mapping[Member, float]) -> "Counter[str]":
        results: Counter[str] = Counter()
        read_at = int(self._now())
        try:
            rows = await self._catalog.fetch_rows(list({item.claim.member.image_id for item in work}))
        except CatalogUnavailable as error:
            return await self._find_the_culprit(work, hits, error)
        made: list[tuple[SignedImage, bytes]] = []
        gone: list[str] = []
        expired: list[Member] = []
        for number, item in enumerate(work, 1):
            member = item.claim.member
            if number % _SIGNED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if (reason := rows.unusable.get(member.image_id)) is not None:
                results[await self._fail(member, reason)] += 1
                continue
            record = rows.records.get(member.image_id)
            if record is None:
                gone.append(member.image_id)
                continue
            presigned = self._signer.sign(record, member.style)
            if self._lifetime.is_usable(presigned, self._now()):
                made.append((SignedImage(record, presigned, member.style, read_at), item.there.tombstone))
            else:
                expired.append(member)
        await self._shared.keep(made, hits)
        await self._queue.postpone(expired, self._now(), _POSTPONED_FOR)
        if gone:
            await self._forget(gone)
            await self._shared.forget_usage(gone)
        results.update(renewed=len(made), gone=len(gone), postponed=len(expired))
        return results

    async def _find_the_culprit(
        self, work: Sequence[_Work], hits: Mapping[Member, float], error: CatalogUnavailable
    ) -> "Counter[str]":
        """The query failed: Postgres is away, or one of the ids makes it fail; that one must hold nobody up."""
        try:
            await self._catalog.try_query()
        except CatalogUnavailable:
            await self._queue.postpone([item.claim.member for item in work], self._now(), _POSTPONED_FOR)
            return Counter(postponed=len(work))
        if len(work) == 1:
            return Counter([await self._fail(work[0].claim.member, str(error))])
        half = len(work) // 2
        return await self._renew(work[:half], hits) + await self._renew(work[half:], hits)

    async def _fail(self, member: Member, reason: str) -> str:
        given_up = await self._queue.fail(member, reason, self._now())
        if given_up:
            logger.error("renewal given up: image_id=%s reason=%s", member.image_id, reason)
        return "dead" if given_up else "failed"
