"""Image id -> signed image: local tier, Redis, then the catalog and the signer."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from gateway.catalog.record import ImageRecord
from gateway.errors import CatalogUnavailable, CredentialsExpired, GatewayError, ImageNotFound, UnknownStyle
from gateway.metrics import Metrics
from gateway.single_flight import SingleFlight
from gateway.urls.lifetime import CLOCK_SKEW, Lifetime
from gateway.urls.local_tier import KnownUnknown, LocalTier
from gateway.urls.member import Member
from gateway.urls.presigned import PresignedUrl, SignedImage
from gateway.urls.redis_cache import Found
from gateway.urls.redis_guard import CacheUnavailable
from gateway.urls.shared_tier import SharedTier
from gateway.urls.signer import Signer
from gateway.urls.tally import LookupTally

logger = logging.getLogger(__name__)


class Catalog(Protocol):
    """Where rows come from."""

    async def fetch_many(self, image_ids: Sequence[str]) -> Mapping[str, ImageRecord]:
        """The records of those that can be served; raises ``CatalogUnavailable``."""
        ...


class Resolved(NamedTuple):
    """An image with a URL that may be handed out, and whether that URL was made before."""

    image: SignedImage
    from_cache: bool


@dataclass(frozen=True, slots=True)
class Known:
    """An image's row, and its cached URL; None when there is none that may be handed out."""

    record: ImageRecord
    presigned: PresignedUrl | None


class UrlResolver:
    """Finds or makes the presigned URL of an image; who may see it is for the caller to check, on a hit as on a miss.

    A hit in the local tier awaits nothing. A miss is looked up once, however many ask. Redis away: signed here.
    Postgres away: what is cached is served for as long as its URL may be. Without a ``shared`` tier every URL is made
    anew.
    """

    def __init__(
        self,
        catalog: Catalog,
        signer: Signer,
        shared: SharedTier | None,
        local: LocalTier,
        lifetime: Lifetime,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._signer = signer
        self._shared = shared
        self._local = local
        self._lifetime = lifetime
        self.tally = LookupTally(metrics)
        self._now = now
        self._distrusted_before = float("-inf")
        self._is_listening = True
        self._lookups: SingleFlight[Member, Resolved] = SingleFlight("look-up", metrics.coalesced_requests)
        self._renewals: SingleFlight[Member, SignedImage] = SingleFlight("renewal", metrics.coalesced_requests)

    def at_hand(self, image_id: str, style: str | None = None) -> Resolved | None:
        """What the local tier has; None: ask ``look_up``. Raises ``UnknownStyle`` or ``ImageNotFound``."""
        if style is not None and not self._signer.knows_style(style):
            raise UnknownStyle
        return self._from_local(Member(image_id, style))

    async def look_up(self, image_id: str, style: str | None = None) -> Resolved:
        """What is not at hand; raises ``ImageNotFound``, ``CatalogUnavailable`` or ``CredentialsExpired``."""
        member = Member(image_id, style)
        return await self._lookups.run(member, lambda: self._look_up(member))

    async def resolve_many(self, image_ids: Iterable[str]) -> dict[str, Resolved | GatewayError]:
        """Each image, or why there is none; one round to Redis and one query, whatever the number."""
        results: dict[str, Resolved | GatewayError] = {}
        missed: list[Member] = []
        for image_id in dict.fromkeys(image_ids):
            member = Member(image_id)
            try:
                known = self._from_local(member)
            except ImageNotFound as error:
                results[image_id] = error
                continue
            if known is None:
                missed.append(member)
            else:
                results[image_id] = known
        found = await self._look_up_many(missed)
        return results | {member.image_id: result for member, result in found.items()}

    async def peek(self, image_id: str) -> Known:
        """What is known of the image, without making a URL; raises ``ImageNotFound`` or ``CatalogUnavailable``."""
        member, mark = Member(image_id), self._local.mark()
        known = self._from_local(member)
        if known is None:
            image = (await self._find([member])).get(member, Found()).image
            if image is not None and self._may_be_used(image):
                self._local.put(image, mark)
                known = Resolved(image, from_cache=True)
        if known is not None:
            return Known(known.image.record, known.image.presigned)
        record = (await self._catalog.fetch_many([image_id])).get(image_id)
        if record is None:
            self._local.put_unknown(member, mark)
            raise ImageNotFound(image_id)
        return Known(record, None)

    async def renew(
        self, image_id: str, style: str | None = None, *, refused: SignedImage | None = None
    ) -> SignedImage:
        """A URL signed this moment for the row as it is now.

        ``refused`` is what COS would not take; its record is used when Postgres does not answer. Raises
        ``ImageNotFound``, ``CatalogUnavailable`` or ``CredentialsExpired``.
        """
        member = Member(image_id, style)
        return await self._renewals.run(member, lambda: self._renew(member, refused))

    def sign_for_head(self, image: SignedImage) -> PresignedUrl:
        """The image's URL for HEAD, which COS refuses on a URL signed for GET."""
        return self._signer.sign(image.record, image.style, method="HEAD")

    def forget(self, image_id: str | None) -> None:
        """Look the image up again when it is asked for next; None: every image, unless nobody can say better."""
        if image_id is None:
            self._local.doubt()
            self._lookups.forget()
        else:
            self._local.drop(image_id)
            self._lookups.forget(lambda member: member.image_id == image_id)

    def distrust_before(self, at: float) -> None:
        """Rows read before ``at`` (Unix seconds) may have changed unheard: read them again before they are used."""
        self._distrusted_before = at + CLOCK_SKEW
        self.forget(None)

    def begin_gap(self) -> None:
        """Until ``end_gap`` nobody tells of changes: believe no entry of Redis that the row does not confirm.

        Where Postgres does not answer, entries are served as they are.
        """
        self._is_listening = False

    def end_gap(self, at: float) -> None:
        """From ``at`` (Unix seconds) on, changes are told of."""
        self._is_listening = True
        self.distrust_before(at)

    async def close(self) -> None:
        """Stop the work under way."""
        await self._lookups.close()
        await self._renewals.close()

    def _from_local(self, member: Member) -> Resolved | None:
        try:
            image = self._local.get(member)
        except KnownUnknown:
            self.tally.count("local", "unknown")
            raise ImageNotFound from None
        if image is None or not self._lifetime.is_usable(image.presigned, self._now()):
            self.tally.count("local", "miss")
            return None
        self.tally.count("local", "hit")
        return Resolved(image, True)

    async def _look_up(self, member: Member) -> Resolved:
        result = (await self._look_up_many([member]))[member]
        if isinstance(result, GatewayError):
            raise result
        return result

    async def _look_up_many(self, members: Sequence[Member]) -> dict[Member, Resolved | GatewayError]:
        results: dict[Member, Resolved | GatewayError] = {}
        if not members:
            return results
        mark = self._local.mark()
        found = await self._find(members)
        for member, there in found.items():
            if there.image is not None and self._may_be_used(there.image):
                self._local.put(there.image, mark)
                results[member] = Resolved(there.image, from_cache=True)
        missed = [member for member in members if member not in results]
        if not missed:
            return results
        read_at = int(self._now())
        try:
            records = await self._catalog.fetch_many([member.image_id for member in missed])
        except CatalogUnavailable as error:
            return results | {member: self._last_known(member, found, mark) or error for member in missed}
        made: list[tuple[SignedImage, bytes]] = []
        for member in missed:
            there = found.get(member, Found())
            result = self._result_for(member, records.get(member.image_id), there, read_at)
            results[member] = result
            if isinstance(result, Resolved):
                made.append((result.image, there.tombstone))
            elif isinstance(result, ImageNotFound):
                self._local.put_unknown(member, mark)
        await self._keep(made, mark)
        return results

    def _result_for(
        self, member: Member, record: ImageRecord | None, there: Found, read_at: int
    ) -> Resolved | GatewayError:
        if record is None:
            return ImageNotFound(member.image_id)
        cached = there.image
        if cached is not None and cached.record == record and self._lifetime.is_usable(cached.presigned, self._now()):
            # It was only to be read again: the row is as it was, so the URL is as good as before.
            return Resolved(replace(cached, read_at=read_at), from_cache=True)
        try:
            return Resolved(self._sign(record, member.style, read_at), from_cache=False)
        except CredentialsExpired as error:
            return error

    async def _find(self, members: Sequence[Member]) -> dict[Member, Found]:
        """What Redis has, counted; nothing while it is away."""
        if self._shared is None:
            return {}
        try:
            found = await self._shared.find(members)
        except CacheUnavailable as error:
            logger.debug("redis unavailable: %s", error)
            self.tally.count("redis", "error", len(members))
            return {}
        hits = sum(there.image is not None and self._may_be_used(there.image) for there in found.values())
        self.tally.count("redis", "hit", hits)
        self.tally.count("redis", "miss", len(members) - hits)
        return found

    def _may_be_used(self, image: SignedImage) -> bool:
        is_believed = self._is_listening and image.read_at >= self._distrusted_before
        return is_believed and self._lifetime.is_usable(image.presigned, self._now())

    def _last_known(self, member: Member, found: Mapping[Member, Found], mark: int) -> Resolved | None:
        """What may be out of date, for when nobody can say better."""
        image = self._local.get_stale(member) or found.get(member, Found()).image
        if image is None or not self._lifetime.is_usable(image.presigned, self._now()):
            return None
        self._local.put(image, mark)  # ask the stores again after local_ttl, not on every request
        return Resolved(image, from_cache=True)

    async def _renew(self, member: Member, refused: SignedImage | None) -> SignedImage:
        mark = self._local.mark()
        there = (await self._find([member])).get(member, Found())
        newest = there.image
        if newest is not None and self._may_be_used(newest) and await self._was_just_renewed(member, newest, refused):
            self._local.put(newest, mark)
            return newest
        read_at = int(self._now())
        try:
            record = (await self._catalog.fetch_many([member.image_id])).get(member.image_id)
        except CatalogUnavailable:
            if refused is None:
                raise
            record, read_at = refused.record, refused.read_at
        if record is None:
            self._local.put_unknown(member, mark)
            raise ImageNotFound(member.image_id)
        image = self._sign(record, member.style, read_at, fresh=True)
        await self._keep([(image, there.tombstone)], mark)
        return image

    async def _was_just_renewed(self, member: Member, newest: SignedImage, refused: SignedImage | None) -> bool:
        """Whether another replica has just done what this one is about to do."""
        if refused is not None and newest.presigned.signed_at > refused.presigned.signed_at:
            return True
        try:
            is_first = self._shared is None or await self._shared.lock_renewal(member)
        except CacheUnavailable:
            is_first = True
        return not is_first and refused is None and newest.presigned.signed_at >= int(self._now()) - 1

    def _sign(self, record: ImageRecord, style: str | None, read_at: int, *, fresh: bool = False) -> SignedImage:
        presigned = self._signer.sign(record, style, fresh=fresh)
        if not self._lifetime.is_usable(presigned, self._now()):
            raise CredentialsExpired(f"the security token ends at {presigned.expires_at}")
        return SignedImage(record, presigned, style, read_at)

    async def _keep(self, made: Sequence[tuple[SignedImage, bytes]], mark: int) -> None:
        for image, _ in made:
            self._local.put(image, mark)
        if self._shared is None:
            return
        try:
            await self._shared.keep(made)
        except CacheUnavailable as error:
            logger.debug("redis unavailable: %s", error)
