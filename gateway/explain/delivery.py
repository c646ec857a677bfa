"""Explain step: the way of delivery, the header fields of the response, and how long caches keep it."""

from collections.abc import Callable

from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.fallback_picture import stands_in_for
from gateway.delivery.headers import CORS, image_headers
from gateway.delivery.redirect import redirect_fields
from gateway.errors import GatewayError, NotAnImage
from gateway.explain.explanation import Facts, Problem
from gateway.explain.origin import AskedOrigin
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.hosts import Hosts
from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import SignedImage
from gateway.settings import ImageProxySettings, Live

_FROM_A_PAGE = {"Sec-Fetch-Dest": "image"}
_AGAIN = "then asks again with If-None-Match"
_TYPE_ADVICE = "upload the object with a Content-Type of image/*, or fill postgres.columns.content_type"
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


class DeliveryStep:
    """Chooses the way of delivery and its header fields as a request does.

    latest: the latest time that COS's clock may have, as ``CosClock.latest``.
    keeps_original: as ``PublicUrls.keeps_original``.
    """

    def __init__(
        self,
        settings: Live[ImageProxySettings],
        hosts: Hosts,
        lifetime: Lifetime,
        latest: Callable[[], float],
        keeps_original: Callable[[SignedImage], bool],
    ) -> None:
        self._settings = settings
        self._hosts = hosts
        self._lifetime = lifetime
        self._latest = latest
        self._keeps_original = keeps_original

    @property
    def is_enabled(self) -> bool:
        """Whether images are served."""
        return self._settings.value.enabled

    def is_redirect(self, image: SignedImage) -> bool:
        """Return whether the client asks COS itself."""
        return self._settings.value.delivery == "redirect" and self._keeps_original(image)

    def picture(self, error: GatewayError) -> Facts:
        """Return that a browser gets a picture in place of the error, or nothing if it does not."""
        fallback = self._settings.value.fallback
        if fallback is None or not stands_in_for(error, fallback.statuses, "GET", _FROM_A_PAGE):
            return {}
        return {"picture": "browsers that request an image get image_proxy.fallback with this status"}

    def of(self, image: SignedImage, asked: AskedOrigin, policy: CachePolicy) -> tuple[Facts, Problem | None]:
        """Return the way of delivery and its header fields, and the error that COS's answer becomes."""
        delivery, record = self._settings.value.delivery, image.record
        facts: Facts = {}
        if delivery == "redirect" and not self.is_redirect(image):
            delivery = "stream"
            facts["why"] = "no redirect: COS may give the original to the holder of the URL (cos.unsigned_parameters)"
        facts["mode"] = delivery
        if delivery == "redirect":
            # The client asks COS itself, so an error of COS is the client's to see.
            redirected = policy.within(self._lifetime.redirect_usable_for(image.presigned, self._latest()))
            place = f"a presigned URL at {self._hosts.origin_of(record.bucket, record.region).host}"
            facts |= {"status": 302, "headers": {**redirect_fields(place, image, redirected)}}
        if asked.error is not None:
            return facts, (asked.error, str(asked.error), asked.advice)
        if asked.metadata is not None and delivery != "redirect":
            try:
                facts |= {"status": 200, "headers": headers_of(image, asked.metadata, policy)}
            except NotAnImage as error:
                return facts, (error, f"COS sends no image: {error}", _TYPE_ADVICE)
        return facts, None

    def kept(self, image: SignedImage, policy: CachePolicy, delivery: Facts) -> Facts:
        """Return who keeps the image that is delivered so, and for how long."""
        if delivery["mode"] == "redirect":
            policy = policy.within(self._lifetime.redirect_usable_for(image.presigned, self._latest()))
        return kept_by(str(delivery["mode"]), policy, is_public=image.public)


def kept_by(delivery: str, policy: CachePolicy, *, is_public: bool) -> Facts:
    """Return who keeps a delivered image, and for how long (seconds)."""
    max_age = policy.max_age
    shared = max_age if policy.shared_max_age is None else policy.shared_max_age
    if delivery == "redirect":
        return {
            "browser": f"the redirect for {max_age} s; the bytes as COS's own Cache-Control says",
            "nginx": "nothing: gateway.conf stores no redirects",
            "cdn": f"the redirect for {shared} s" if is_public else "nothing: the image is private",
        }
    if not is_public:
        nginx = _NGINX_ACCEL if delivery == "accel" else "nothing: the image is private"
        return {"browser": f"{max_age} s, {_AGAIN}", "nginx": nginx, "cdn": "nothing: the image is private"}
    optional = f"{shared} s, with gateway-cache.conf or the optional cache of gateway.conf"
    revalidated, failing = policy.stale_while_revalidate, policy.stale_if_error
    stale = f", then stale for up to {revalidated} s while it asks again" if revalidated else ""
    return {
        "browser": f"{max_age} s{stale}" if stale else f"{max_age} s, {_AGAIN}",
        "nginx": _NGINX_ACCEL if delivery == "accel" else optional,
        "cdn": f"{shared} s{stale}{f', and for up to {failing} s while that fails' if failing else ''}",
    }


def nothing_kept() -> Facts:
    """Return who keeps an error."""
    return dict.fromkeys(("browser", "nginx", "cdn"), "nothing: errors carry no-store")
