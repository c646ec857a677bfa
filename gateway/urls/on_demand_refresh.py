"""Refresh on demand: sign a URL now, because COS refused the cached URL or a caller requests a new URL."""

import time
from collections.abc import Callable

from gateway.catalog.record import Catalog
from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import CatalogUnavailable, ImageNotFound
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.url_entries import Found, UrlEntries
from gateway.urls.local_tier import LocalTier
from gateway.urls.metrics import UrlMetrics
from gateway.urls.resolver import UrlResolver


class OnDemandRefresh:
    """Signs new URLs in place of cached URLs. Simultaneous calls for the same variant share a renewal.

    With Redis, replicas share a renewal as well: a replica returns a URL that another replica has just renewed.
    """

    def __init__(
        self,
        resolver: UrlResolver,
        catalog: Catalog,
        shared: UrlEntries | None,
        local: LocalTier,
        metrics: UrlMetrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._resolver = resolver
        self._catalog = catalog
        self._shared = shared
        self._local = local
        self._now = now
        self._calls: SingleFlight[ImageVariant, SignedImage] = SingleFlight("refresh", metrics.coalesced_requests)

    async def refresh(
        self, image_id: str, rendition: str | None = None, *, refused: SignedImage | None = None
    ) -> SignedImage:
        """Return a URL signed now for the current row.

        ``refused`` is the image whose URL COS refused. Its record is used when Postgres does not answer, unless the
        image has changed since. Raises ``ImageNotFound``, ``CatalogUnavailable`` or ``CredentialsExpired``.
        """
        variant = ImageVariant(image_id, rendition)
        return await self._calls.run(variant, lambda: self._refresh(variant, refused))

    def drop(self, image_id: str) -> None:
        """Let no later call share a renewal that may have read the row before the image changed."""
        self._calls.detach(lambda variant: variant.image_id == image_id)

    def drop_all(self) -> None:
        """Let no later call share a running renewal."""
        self._calls.detach(lambda _: True)

    async def close(self) -> None:
        """Cancel running renewals."""
        await self._calls.close()

    async def _refresh(self, variant: ImageVariant, refused: SignedImage | None) -> SignedImage:
        resolver, mark = self._resolver, self._local.mark()
        found, usable = await resolver.find([variant])
        newest = usable.get(variant)
        if newest is not None and await self._was_just_renewed(variant, newest, refused):
            resolver.keep_local(newest, mark)
            return newest
        read_at, began = int(self._now()), self._local.now()
        try:
            record = (await self._catalog.fetch_many([variant.image_id])).get(variant.image_id)
        except CatalogUnavailable:
            if refused is None or resolver.has_changed(refused):
                raise
            resolver.note_unread(variant.image_id)
            record, read_at = refused.record, refused.read_at
        if record is None:
            self._local.put_unknown(variant, mark, began)
            raise ImageNotFound(variant.image_id)
        image = resolver.urls.sign(record, variant.rendition, read_at, fresh=True)
        await resolver.keep([(image, found.get(variant, Found()).tombstone)], mark)
        return image

    async def _was_just_renewed(self, variant: ImageVariant, newest: SignedImage, refused: SignedImage | None) -> bool:
        """Return whether another replica has just renewed the URL."""
        if refused is not None and newest.presigned.signed_at > refused.presigned.signed_at:
            return True
        try:
            is_first = self._shared is None or await self._shared.lock_refresh(variant)
        except CacheUnavailable:
            is_first = True
        return not is_first and refused is None and newest.presigned.signed_at >= int(self._now()) - 1
