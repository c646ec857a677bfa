"""Delivery by redirect: the client fetches the image from COS."""

import time
from collections.abc import Callable

from aiohttp import hdrs, web

from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.headers import CORS
from gateway.delivery.prepared_response import PreparedResponse, fields
from gateway.presign.lifetime import Lifetime
from gateway.presign.public_url import PublicUrls
from gateway.presign.signed_image import AuthorizedImage, SignedImage

_CORS = fields(CORS).encode()


class ImageRedirect:
    """Answers requests for images with a redirect to a presigned URL."""

    def __init__(
        self,
        lifetime: Lifetime,
        public_urls: PublicUrls,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lifetime = lifetime
        self._public_urls = public_urls
        self._now = now

    def is_allowed(self, image: AuthorizedImage) -> bool:
        """Return whether everybody who may see the image may have its URL: ``PublicUrls.keeps_original``."""
        return self._public_urls.keeps_original(image)

    def at_once(self, image: AuthorizedImage, policy: CachePolicy) -> PreparedResponse:
        """Return the 302 of a plain GET. Raises ``CredentialsExpired``."""
        return PreparedResponse(_CORS, fields(self._fields(hdrs.METH_GET, image, policy, None)), status=302)

    def answer(
        self, method: str, image: AuthorizedImage, policy: CachePolicy, *, download: str | None
    ) -> web.StreamResponse:
        """Return a 302 that is cacheable while its URL is valid, and no longer than the image would be.

        COS refuses HEAD on a URL signed for GET, so each method has its own URL. ``HTTPFound`` is not used: it
        quotes a signed URL again, which breaks the signature.
        """
        headers = self._fields(method, image, policy, download)
        if method == hdrs.METH_HEAD:
            return web.Response(status=302, headers={**CORS, **headers, "Content-Length": "0"})
        return PreparedResponse(_CORS, fields(headers), status=302)

    def _fields(self, method: str, image: AuthorizedImage, policy: CachePolicy, download: str | None) -> dict[str, str]:
        presigned = self._public_urls.presign(image, method=method, download=download)
        usable_for = self._lifetime.redirect_usable_for(presigned, self._now())
        return redirect_fields(presigned.url, image, policy.within(usable_for))


def redirect_fields(location: str, image: SignedImage, policy: CachePolicy) -> dict[str, str]:
    """Return the header fields of a redirect."""
    # The address of a private image may contain a link's signature, which COS must not get as the Referer.
    headers = {
        "Location": location,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": policy.cache_control(public=image.public),
    }
    if not image.public:
        headers["Vary"] = policy.private_vary
    return headers
