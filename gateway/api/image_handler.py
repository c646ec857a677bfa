"""Handle requests for one image: parse, look up and authorize, count, deliver."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from aiohttp import web

from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.delivery.accel import ImageAccel
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.headers import CORS
from gateway.delivery.image_request import Exchange, ImageRequest
from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.redirect import ImageRedirect
from gateway.delivery.request_context import RequestContext
from gateway.delivery.responder import Responder
from gateway.delivery.variant_fallback import VariantDelivery
from gateway.delivery.variant_request import ORIGINAL, VariantRequest, VariantRequests
from gateway.errors import ImageNotFound, Overloaded, RouteNotFound, TooManyVariants, Unauthorized
from gateway.presign.signed_image import AuthorizedImage
from gateway.settings import ImageProxySettings, Live
from gateway.urls.resolver import Resolved
from gateway.urls.usage_counter import UsageCounter

_NO_QUERY: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What sends an image: its bytes, an order to nginx, or its URL. ``variants`` replaces a refused rendition."""

    responder: Responder
    accel: ImageAccel
    redirect: ImageRedirect
    variants: VariantDelivery


class ImageHandler:
    """Handles ``/i/{id}`` and ``/api/v1/images/{id}/proxy``, at most ``max_streams`` requests at a time."""

    def __init__(
        self,
        settings: Live[ImageProxySettings],
        policy: Live[CachePolicy],
        lookup: AuthorizedLookup,
        usage: UsageCounter,
        variant_requests: VariantRequests,
        deliveries: Deliveries,
        *,
        max_streams: int,
    ) -> None:
        self._streams = 0
        self._max_streams = max_streams
        self._lookup = lookup
        self._usage = usage
        self._settings = settings
        self._policy = policy
        self._variant_requests = variant_requests
        self._responder = deliveries.responder
        self._accel = deliveries.accel
        self._redirect = deliveries.redirect
        self._variants = deliveries.variants

    @property
    def streams(self) -> int:
        """How many images are being sent."""
        return self._streams

    async def answer(self, request: web.BaseRequest, image_id: str, context: RequestContext) -> web.StreamResponse:
        """Send the image's bytes, a redirect to them, or an X-Accel-Redirect for nginx. Raises ``GatewayError``.

        ``image_id`` must be valid. A request beyond ``max_streams`` is refused at once (``Overloaded``), so that
        the requests in flight stay fast.
        """
        if not self._settings.value.enabled:
            raise RouteNotFound
        query, chosen = _NO_QUERY, ORIGINAL
        if raw_query := request.rel_url.raw_query_string:
            known = self._variant_requests.known(raw_query)
            if known is not None:
                chosen = known
            else:
                query = request.query
                context.is_negotiated = self._variant_requests.is_negotiated(query)
                chosen = self._variant_requests.parse(query, request.headers)
                self._variant_requests.remember(raw_query, chosen)
        wanted = ImageRequest.parse(image_id, query, request.headers, request.method)
        if self._streams >= self._max_streams:
            raise Overloaded(f"{self._streams} streams in flight")
        self._streams += 1
        try:
            lookup, rendition = self._lookup, chosen.rendition
            context.variant = rendition
            resolved = lookup.get_cached(request, image_id, rendition) or await self._look_up(
                request, image_id, rendition
            )
            image = resolved.image
            if not context.is_canary:
                self._usage.accessed(image_id, image.rendition)
            context.delivery = delivery = "redirect" if wanted.redirect else self._settings.value.delivery
            if chosen is ORIGINAL and delivery == "redirect":
                return self._redirect.answer(request.method, image, self._policy.value, download=wanted.download)
            exchange = Exchange(request, context, wanted, image, self._policy.value, lookup.resolve_again)
            if chosen is not ORIGINAL:
                return await self._choose(exchange, chosen)
            # Not by ``_deliver``: a coroutine that only calls the next one costs a percent of an answer from memory.
            return await (self._accel if delivery == "accel" else self._responder).answer(exchange)
        finally:
            self._streams -= 1

    @property
    def answers_at_once(self) -> bool:
        """Whether ``answer_at_once`` is worth a try: memory holds bytes, or images are redirected to COS."""
        delivery = self._settings.value.delivery
        return delivery == "redirect" or (delivery == "stream" and self._responder.has_bytes)

    def answer_at_once(self, image_id: str, raw_query: str, context: RequestContext) -> PreparedResponse | None:
        """Return the answer to a plain GET if the image is public and nothing has to be awaited for it, else None.

        Only an answer is counted. Raises ``GatewayError`` where ``answer`` does.
        """
        settings, policy = self._settings.value, self._policy.value
        chosen = self._variant_requests.known(raw_query) if raw_query else ORIGINAL
        is_redirect = settings.delivery == "redirect"
        if (
            chosen is None
            or (settings.delivery == "accel" or (is_redirect and chosen is not ORIGINAL))
            or not settings.enabled
            or self._streams >= self._max_streams
        ):
            return None
        image = self._lookup.cached_for_everybody(image_id, chosen.rendition)
        if image is None or (image.rendition is not None and self._variants.is_refused(image)):
            return None
        if chosen.version is not None:
            if chosen.version != image.record.version_token:
                return None
            policy = policy.for_version()
        sender = self._redirect if is_redirect else self._responder
        response = sender.at_once(image, policy)
        if response is not None:
            self._lookup.count_hit()
            context.variant, context.delivery = chosen.rendition, settings.delivery
            self._usage.accessed(image_id, image.rendition)
        return response

    async def _choose(self, exchange: Exchange, chosen: VariantRequest) -> web.StreamResponse:
        """Answer a request that names a rendition or a version."""
        image = exchange.image
        if chosen.version is not None:
            if chosen.version != image.record.version_token:
                return _to_current_version(exchange)
            exchange.policy = exchange.policy.for_version()
        if chosen.rendition is None:
            return await self._deliver(exchange)
        if image.rendition is None:
            self._variants.count(chosen.rendition, "limited")
            exchange.substitute()
        deliver = self._responder.answer if exchange.context.delivery == "stream" else self._deliver
        return await self._variants.answer(exchange, deliver)

    async def _deliver(self, exchange: Exchange) -> web.StreamResponse:
        match exchange.context.delivery:
            case "redirect" if self._redirect.is_allowed(exchange.image):
                return self._redirect.answer(
                    exchange.request.method, exchange.image, exchange.policy, download=exchange.wanted.download
                )
            case "accel":
                return await self._accel.answer(exchange)
            case _:
                exchange.context.delivery = "stream"
                return await self._responder.answer(exchange)

    async def _look_up(
        self, request: web.BaseRequest, image_id: str, rendition: str | None
    ) -> Resolved[AuthorizedImage]:
        """Look up the rendition, or the original if too many variants are new and the caller may see the original."""
        lookup = self._lookup
        try:
            return await lookup.look_up(request, image_id, rendition)
        except TooManyVariants as error:
            try:
                return lookup.get_cached(request, image_id) or await lookup.look_up(request, image_id)
            except (ImageNotFound, Unauthorized):
                raise error from None


def _to_current_version(exchange: Exchange) -> web.StreamResponse:
    """Return a redirect from an older version to the current one, at the same address with another ``v``.

    The reference is relative to the address of the client, which a proxy may have rewritten.
    """
    query = _with_version(exchange.request.rel_url.raw_query_string, exchange.image.record.version_token)
    policy = exchange.policy.for_substitute()
    headers = {
        **CORS,
        "Location": f"?{query}",
        "Cache-Control": policy.cache_control(public=exchange.image.public),
        "Referrer-Policy": "no-referrer",  # the address of a private image may contain a link's signature
    }
    if not exchange.image.public:
        headers["Vary"] = policy.private_vary
    return web.Response(status=302, headers=headers)


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
