"""New presigned URLs in place of cached URLs, for callers that ask for them."""

from aiohttp import web

from gateway.api.json_responses import success
from gateway.presign.public_url import PublicUrls
from gateway.presign.signed_image import AuthorizedImage, ImageVariant, SignedImage
from gateway.urls.invalidation import Invalidation
from gateway.urls.on_demand_refresh import OnDemandRefresh
from gateway.urls.usage_counter import UsageCounter


class NewUrls:
    """Signs new URLs. The callers of ``sign`` have checked the id."""

    def __init__(
        self,
        refresh: OnDemandRefresh,
        public_urls: PublicUrls,
        usage: UsageCounter,
        invalidation: Invalidation,
    ) -> None:
        self._refresh = refresh
        self._public_urls = public_urls
        self._usage = usage
        self._invalidation = invalidation

    async def sign(self, image_id: str) -> SignedImage:
        """Sign a new URL for every replica. Raises what ``OnDemandRefresh.refresh`` raises."""
        image = await self._refresh.refresh(image_id)
        self._usage.refreshed(ImageVariant(image_id))
        await self._invalidation.announce_url(image_id)
        return image

    def response(self, image: SignedImage, shown: AuthorizedImage | None) -> web.Response:
        """Return the response about the new URL of ``image``. ``shown`` is the same image if the caller may see it."""
        presigned = self._public_urls.presign(shown) if shown is not None else None
        answer = {
            "image_id": image.record.image_id,
            "url": presigned.url if presigned is not None else None,
            "expires_at": (presigned or image.presigned).expires_at,
        }
        return success(answer, "a new URL was signed")
