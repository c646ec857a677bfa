"""Refresh on demand: sign a URL now, because COS refused the cached URL or a caller requests a new URL."""

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import CatalogUnavailable, ImageNotFound
from gateway.presign.signer import SignedImage
from gateway.presign.style_variants import ImageVariant
from gateway.presign.url_lifetime import CosClock
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.url_entries import EntryLookUp, Made
from gateway.urls.resolver import UrlResolver


class OnDemandRefresh:
    """Signs new URLs in place of cached presigned URLs. Simultaneous calls for the same variant share a renewal.

    With Redis, replicas share a renewal as well: a replica returns a URL that another replica has just renewed.
    """

    def __init__(self, resolver: UrlResolver, clock: CosClock) -> None:
        self._resolver = resolver
        self._clock = clock
        self._calls: SingleFlight[ImageVariant, SignedImage] = SingleFlight(
            "refresh", resolver.metrics.coalesced_requests
        )

    async def refresh(self, image_id: str) -> SignedImage:
        """Return the original with a URL signed now for the current row.

        Raises ``ImageNotFound``, ``CatalogUnavailable`` or ``CredentialsExpired``.
        """
        variant = ImageVariant(image_id)
        return await self._calls.run(variant, lambda: self._refresh(variant, None))

    async def refresh_refused(self, refused: SignedImage, cos_time: float | None) -> SignedImage:
        """Return the image with another URL, after COS refused its URL at ``cos_time``, as ``CosClock`` says.

        The record of ``refused`` is used when Postgres does not answer, unless the image has changed since. Redis then
        gets the URL only in place of the same record. Raises what ``refresh`` raises.
        """
        self._clock.refused_at(cos_time)
        variant = ImageVariant(refused.record.image_id, refused.rendition)
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
        resolver, local = self._resolver, self._resolver.local
        mark = local.mark()
        found, usable = await resolver.find([variant])
        newest = usable.get(variant)
        if newest is not None and await self._was_just_renewed(variant, newest, refused):
            resolver.keep_local(newest, mark)
            return newest
        read_at, began, is_read = int(self._clock.now()), local.now(), True
        try:
            record = (await resolver.catalog.fetch_rows([variant.image_id])).records.get(variant.image_id)
        except CatalogUnavailable:
            if refused is None or resolver.outage.has_changed(refused, resolver.now()):
                raise
            record, read_at, is_read = refused.record, refused.read_at, False
        if record is None:
            local.put_unknown(variant, mark, began)
            raise ImageNotFound(variant.image_id)
        image = resolver.urls.sign(record, variant.rendition, read_at, fresh=True)
        if not is_read:
            image = image.as_unread()
        there = found.get(variant, EntryLookUp())
        if is_read or (there.image is not None and there.image.record == record):
            await resolver.keep([Made(image, there)], mark)
        else:  # Redis has no row, or another: the image may have changed without a notification to this gateway
            resolver.keep_local(image, mark)
        return image

    async def _was_just_renewed(self, variant: ImageVariant, newest: SignedImage, refused: SignedImage | None) -> bool:
        """Return whether another replica has just renewed the URL."""
        if refused is not None and newest.presigned.signed_at > refused.presigned.signed_at:
            return True
        shared = self._resolver.shared
        try:
            is_first = shared is None or await shared.lock_refresh(variant)
        except CacheUnavailable:
            is_first = True
        return not is_first and refused is None and newest.presigned.signed_at >= int(self._clock.now()) - 1
