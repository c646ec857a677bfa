"""Explain step: the way of delivery, the header fields of the response, and how long caches keep it."""

from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.headers import CORS, image_headers
from gateway.explain.explanation import Facts
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signed_image import SignedImage

_AGAIN = "then asks again with If-None-Match"
_STALE = ", then stale for up to 300 s while it asks again, and for up to a day while that fails"
_NGINX_ACCEL = (
    "the bytes of this version for 7 days, read only after the gateway has authorized the request (accel.conf)"
)


def headers_of(image: SignedImage, metadata: ObjectMetadata, policy: CachePolicy) -> Facts:
    """Return the header fields of a 200 that depend on the image, without the fields of every answer.

    Raises ``NotAnImage``.
    """
    headers = image_headers(image, metadata, policy, download=None)
    shown: Facts = {name: value for name, value in headers.items() if name not in CORS}
    if metadata.size is not None:
        shown["Content-Length"] = metadata.size
    return shown


def redirect_headers(image: SignedImage, max_age: int, host: str, policy: CachePolicy) -> Facts:
    """Return the header fields of a 302 that may be kept for ``max_age`` seconds, without the URL's signature."""
    headers: Facts = {
        "Location": f"a presigned URL at {host}",
        "Cache-Control": f"{'public' if image.public else 'private'}, max-age={max_age}",
        "Referrer-Policy": "no-referrer",
    }
    if not image.public:
        headers["Vary"] = policy.private_vary
    return headers


def kept_by(delivery: str, max_age: int, *, is_public: bool, may_be_stale: bool) -> Facts:
    """Return who keeps a delivered image, and for how long (seconds)."""
    if delivery == "redirect":
        return {
            "browser": f"the redirect for {max_age} s; the bytes as COS's own Cache-Control says",
            "nginx": "nothing: gateway.conf stores no redirects",
            "cdn": f"the redirect for {max_age} s" if is_public else "nothing: the image is private",
        }
    browser = f"{max_age} s, {_AGAIN}"
    if not is_public:
        nginx = _NGINX_ACCEL if delivery == "accel" else "nothing: the image is private"
        return {"browser": browser, "nginx": nginx, "cdn": "nothing: the image is private"}
    optional = f"{max_age} s, with gateway-cache.conf or the optional cache of gateway.conf"
    return {
        "browser": browser,
        "nginx": _NGINX_ACCEL if delivery == "accel" else optional,
        "cdn": f"{max_age} s{_STALE if may_be_stale else ''}",
    }


def nothing_kept() -> Facts:
    """Return who keeps an error."""
    return dict.fromkeys(("browser", "nginx", "cdn"), "nothing: errors carry no-store")
