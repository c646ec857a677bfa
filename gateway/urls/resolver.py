"""Image id -> signed image: local tier, Redis, then the catalog and the signer."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.catalog.record import ImageRecord
from gateway.errors import CatalogUnavailable, CredentialsExpired, GatewayError, ImageNotFound, UnknownStyle
from gateway.metrics import Metrics
from gateway.single_flight import SingleFlight
from gateway.urls.lifetime import Lifetime
from gateway.urls.local_tier import KnownUnknown, LocalTier
from gateway.urls.presigned import PresignedUrl, SignedImage
from gateway.urls.redis_cache import CacheUnavailable, RedisUrlCache
from gateway.urls.signer import Signer

logger = logging.getLogger(__name__)


class Catalog(Protocol):
    """Where rows come from."""

    async def fetch_many(self, image_ids: Sequence[str]) -> dict[str, ImageRecord]:
        """The records of those that can be served; raises ``CatalogUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Resolved:
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
    Postgres away: what is cached is served for as long as its URL may be. Without a ``cache`` every URL is made anew.
    """

    def __init__(
        self,
        catalog: Catalog,
        signer: Signer,
        cache: RedisUrlCache | None,
        local: LocalTier,
        lifetime: Lifetime,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._signer = signer
        self._cache = cache
        self._local = local
        self._lifetime = lifetime
        self._metrics = metrics
        self._now = now
        joined = metrics.coalesced_requests
        self._lookups: SingleFlight[tuple[str, str | None], Resolved] = SingleFlight("look-up", joined)
        self._renewals: SingleFlight[tuple[str, str | None], SignedImage] = SingleFlight("renewal", joined)

    async def resolve(self, image_id: str, style: str | None = None) -> Resolved:
        """Raises ``UnknownStyle``, ``ImageNotFound``, ``CatalogUnavailable`` or ``CredentialsExpired``."""
        if not self._signer.knows_style(style):
            raise UnknownStyle
        known = self._from_local(image_id, style)
        if known is not None:
            return known
        return await self._lookups.run((image_id, style), lambda: self._look_up(image_id, style))

    async def resolve_many(self, image_ids: Iterable[str]) -> dict[str, Resolved | GatewayError]:
        """Each image, or why there is none; one round to Redis and one query, whatever the number."""
        results: dict[str, Resolved | GatewayError] = {}
        missed: list[str] = []
        for image_id in dict.fromkeys(image_ids):
            try:
                known = self._from_local(image_id, None)
            except ImageNotFound as error:
                results[image_id] = error
                continue
            if known is None:
                missed.append(image_id)
            else:
                results[image_id] = known
        return results | await self._look_up_many(missed, None)

    async def peek(self, image_id: str) -> Known:
        """What is known of the image, without making a URL; raises ``ImageNotFound`` or ``CatalogUnavailable``."""
        known = self._from_local(image_id, None) or (await self._from_redis([image_id], None)).get(image_id)
        if known is not None:
            return Known(known.image.record, known.image.presigned)
        record = (await self._catalog.fetch_many([image_id])).get(image_id)
        if record is None:
            self._local.put_unknown(image_id, None)
            raise ImageNotFound(image_id)
        return Known(record, None)

    async def renew(
        self, image_id: str, style: str | None = None, *, refused: SignedImage | None = None
    ) -> SignedImage:
        """A URL signed this moment for the row as it is now.

        ``refused`` is what COS would not take; its record is used when Postgres does not answer. Raises
        ``ImageNotFound``, ``CatalogUnavailable`` or ``CredentialsExpired``.
        """
        return await self._renewals.run((image_id, style), lambda: self._renew(image_id, style, refused))

    def sign_for_head(self, image: SignedImage) -> PresignedUrl:
        """The image's URL for HEAD, which COS refuses on a URL signed for GET."""
        return self._signer.sign(image.record, image.style, method="HEAD")

    async def close(self) -> None:
        """Stop the work under way."""
        await self._lookups.close()
        await self._renewals.close()

    def _from_local(self, image_id: str, style: str | None) -> Resolved | None:
        lookups = self._metrics.url_cache_lookups
        try:
            image = self._local.get(image_id, style)
        except KnownUnknown:
            lookups.labels(tier="local", result="unknown").inc()
            raise ImageNotFound from None
        if image is None or not self._lifetime.is_usable(image.presigned, self._now()):
            lookups.labels(tier="local", result="miss").inc()
            return None
        lookups.labels(tier="local", result="hit").inc()
        return Resolved(image, from_cache=True)

    async def _look_up(self, image_id: str, style: str | None) -> Resolved:
        result = (await self._look_up_many([image_id], style))[image_id]
        if isinstance(result, GatewayError):
            raise result
        return result

    async def _look_up_many(self, image_ids: Sequence[str], style: str | None) -> dict[str, Resolved | GatewayError]:
        results: dict[str, Resolved | GatewayError] = {}
        if not image_ids:
            return results
        results.update(await self._from_redis(image_ids, style))
        missed = [image_id for image_id in image_ids if image_id not in results]
        if not missed:
            return results
        try:
            records = await self._catalog.fetch_many(missed)
        except CatalogUnavailable as error:
            return results | {image_id: self._stale(image_id, style) or error for image_id in missed}
        made: list[SignedImage] = []
        for image_id in missed:
            record = records.get(image_id)
            if record is None:
                self._local.put_unknown(image_id, style)
                results[image_id] = ImageNotFound(image_id)
                continue
            try:
                image = self._sign(record, style)
            except CredentialsExpired as error:
                results[image_id] = error
                continue
            made.append(image)
            results[image_id] = Resolved(image, from_cache=False)
        await self._keep(made)
        return results

    async def _from_redis(self, image_ids: Sequence[str], style: str | None) -> dict[str, Resolved]:
        if self._cache is None:
            return {}
        lookups = self._metrics.url_cache_lookups
        try:
            cached = await self._cache.get_many(image_ids, style)
        except CacheUnavailable as error:
            logger.debug("redis cache unavailable: %s", error)
            lookups.labels(tier="redis", result="error").inc(len(image_ids))
            return {}
        now = self._now()
        usable = {key: image for key, image in cached.items() if self._lifetime.is_usable(image.presigned, now)}
        for image in usable.values():
            self._local.put(image)
        lookups.labels(tier="redis", result="hit").inc(len(usable))
        lookups.labels(tier="redis", result="miss").inc(len(image_ids) - len(usable))
        return {image_id: Resolved(image, from_cache=True) for image_id, image in usable.items()}

    def _stale(self, image_id: str, style: str | None) -> Resolved | None:
        """What this process still knows, for when nobody can say better."""
        image = self._local.get_stale(image_id, style)
        if image is None or not self._lifetime.is_usable(image.presigned, self._now()):
            return None
        self._local.put(image)  # ask the stores again after local_ttl, not on every request
        return Resolved(image, from_cache=True)

    async def _renew(self, image_id: str, style: str | None, refused: SignedImage | None) -> SignedImage:
        try:
            record = (await self._catalog.fetch_many([image_id])).get(image_id)
        except CatalogUnavailable:
            if refused is None:
                raise
            record = refused.record
        if record is None:
            self._local.put_unknown(image_id, style)
            raise ImageNotFound(image_id)
        image = self._sign(record, style, fresh=True)
        await self._keep([image])
        return image

    def _sign(self, record: ImageRecord, style: str | None, *, fresh: bool = False) -> SignedImage:
        presigned = self._signer.sign(record, style, fresh=fresh)
        if not self._lifetime.is_usable(presigned, self._now()):
            raise CredentialsExpired(f"the security token ends at {presigned.expires_at}")
        return SignedImage(record, presigned, style)

    async def _keep(self, images: Sequence[SignedImage]) -> None:
        for image in images:
            self._local.put(image)
        if self._cache is None or not images:
            return
        now = self._now()
        try:
            await self._cache.put_many([(image, self._lifetime.usable_for(image.presigned, now)) for image in images])
        except CacheUnavailable as error:
            logger.debug("redis cache unavailable: %s", error)
