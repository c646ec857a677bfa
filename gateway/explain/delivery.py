"""Explain step: the answer as it was decided, and how long caches keep it."""

from gateway.delivery.decision import Answer, Refused
from gateway.delivery.fallback_picture import stands_in_for
from gateway.delivery.headers import CORS
from gateway.delivery.parameters import Parameters
from gateway.errors import GatewayError
from gateway.explain.explanation import Facts
from gateway.explain.origin import host_of
from gateway.presign.signer import AuthorizedImage
from gateway.settings import FallbackSettings

_FROM_A_PAGE = {"Sec-Fetch-Dest": "image"}
_AGAIN = "then asks again with If-None-Match"
_NGINX_ACCEL = (
    "the bytes of this version for 7 days, read only after the gateway has authorized the request (accel.conf)"
)
# Of every answer, of this request alone, or of the gateway's memory, which a request that nobody sends does not find.
_NOT_SHOWN = {*CORS, "Age", "Cache-Status"}


def picture(error: GatewayError, fallback: FallbackSettings | None) -> Facts:
    """Return that a browser gets a picture in place of the error, or nothing if it does not."""
    if fallback is None or not stands_in_for(error, fallback.statuses, "GET", _FROM_A_PAGE):
        return {}
    return {"picture": "browsers that request an image get image_proxy.fallback with this status"}


def answer_facts(decision: Answer | Refused, image: AuthorizedImage, parameters: Parameters, configured: str) -> Facts:
    """Return the way of delivery of ``image``, the status and the header fields. ``configured``: its setting."""
    facts: Facts = {}
    if configured == "redirect" != decision.delivery:
        facts["why"] = "no redirect: COS may give the original to the holder of the URL (cos.unsigned_parameters)"
    facts["mode"] = decision.delivery
    if isinstance(decision, Answer):
        headers: Facts = {name: value for name, value in decision.headers().items() if name not in _NOT_SHOWN}
        if decision.content is None and decision.names_content:
            headers["Location"] = f"a presigned URL at {host_of(image)}"
        elif decision.length is not None:
            headers["Content-Length"] = decision.length
        facts |= {"status": decision.status, "headers": headers}
    facts["rendition"] = image.rendition or "the original"
    if parameters.version not in (None, image.record.version_token):
        facts["version"] = f"another one: the client is redirected to v={image.record.version_token}"
    return facts


def kept(answer: Answer, url_usable_for: int) -> Facts:
    """Return who keeps the answer, and for how long (seconds). A redirect is kept while its URL is usable."""
    delivery, is_public, policy = answer.delivery, answer.image.public, answer.policy
    if delivery == "redirect":
        policy = policy.within(url_usable_for)
    max_age = policy.max_age
    if policy.unread:
        lasts = f"{max_age} s" if is_public else "nothing"
        seconds = f"{lasts}: the row could not be read"
        return {"browser": seconds, "nginx": "nothing: the row could not be read", "cdn": seconds}
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
