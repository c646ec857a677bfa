"""Delivery by redirect: the client fetches the image from COS."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.headers import CACHE, CORS, UNREAD, cache_fields
from gateway.delivery.prepared_response import fields
from gateway.presign.public_url import PublicUrls
from gateway.presign.signer import AuthorizedImage, PresignedUrl, SignedImage
from gateway.presign.url_lifetime import CosClock, Lifetime

FIXED: Final = fields(CORS).encode()  # the header lines of every redirect


@dataclass(frozen=True, slots=True)
class ImageRedirect:
    """Makes the header lines that redirect a client to COS by a presigned URL."""

    lifetime: Lifetime
    public_urls: PublicUrls
    clock: CosClock

    def lines(self, method: str, image: AuthorizedImage, policy: CachePolicy, download: str | None, now: float) -> str:
        """Return the header lines of a 302 that is cacheable while its URL is valid, and no longer than the image.

        COS refuses HEAD on a URL signed for GET, so each method has its own URL. ``HTTPFound`` is not used: it
        quotes a signed URL again, which breaks the signature. Raises ``CredentialsExpired``.
        """
        presigned = self.public_urls.presign(image, method=method, download=download)
        return redirect_lines(presigned.url, image, policy, self.usable_for(presigned, now))

    def usable_for(self, presigned: PresignedUrl, now: float) -> int:
        """Return for how many seconds a redirect to the URL may be cached, 0 if it is too old."""
        return max(0, int(self.lifetime.usable_for(presigned, now + self.clock.ahead())))


def redirect_lines(location: str, image: SignedImage, policy: CachePolicy, usable_for: int | None = None) -> str:
    """Return the header lines of a redirect, which no cache may use after ``usable_for`` seconds (None: no limit)."""
    return fields({"Location": location}) + _cached_lines(policy, usable_for, image.public)


def to_current_version(raw_query: str, image: SignedImage, policy: CachePolicy) -> str:
    """Return the header lines of a redirect relative to the client's address, which a proxy may have rewritten."""
    return redirect_lines(f"?{_with_version(raw_query, image.record.version_token)}", image, policy)


# URLs that were signed together end together: their redirects of a second have the same lines.
@lru_cache(maxsize=1024)
def _cached_lines(policy: CachePolicy, usable_for: int | None, public: bool) -> str:
    if usable_for is not None:
        policy = policy.within(usable_for)
    # The address of a private image may contain a link's signature, which COS must not get as the Referer.
    headers = {"Referrer-Policy": "no-referrer", **cache_fields(policy, public=public)}
    if policy.unread:
        headers["Cache-Status"] = CACHE + UNREAD
    if not public:
        headers["Vary"] = policy.private_vary
    return fields(headers)


def _with_version(raw_query: str, version: str) -> str:
    """Return the query with that version in place of its first, however its name is encoded, and of all others."""
    parameters: list[str] = []
    current = f"v={version}"
    for parameter in raw_query.split("&"):
        if unquote_plus(parameter.partition("=")[0]) != "v":
            parameters.append(parameter)
        elif current not in parameters:
            parameters.append(current)
    return "&".join(parameters)
