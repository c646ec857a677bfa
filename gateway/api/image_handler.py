"""Handle requests for one image: parse, look up and authorize, count, deliver."""

from collections.abc import Mapping

from aiohttp import web

from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.delivery.accel import ImageAccel
from gateway.delivery.image_request import Exchange, ImageRequest
from gateway.delivery.redirect import ImageRedirect
from gateway.delivery.request_context import RequestContext
from gateway.delivery.responder import Responder
from gateway.errors import Overloaded, RouteNotFound
from gateway.settings import ImageProxySettings
from gateway.urls.usage_counter import UsageCounter

_NO_QUERY: Mapping[str, str] = {}


class ImageHandler:
    """Handles ``/i/{id}`` and ``/api/v1/images/{id}/proxy``, at most ``max_streams`` requests at a time."""

    def __init__(
        self,
        settings: ImageProxySettings,
        *,
        max_streams: int,
        lookup: AuthorizedLookup,
        usage: UsageCounter,
        responder: Responder,
        accel: ImageAccel,
        redirect: ImageRedirect,
    ) -> None:
        self._is_enabled = settings.enabled
        self._delivery = settings.delivery
        self._max_streams = max_streams
        self._streams = 0
        self._lookup = lookup
        self._usage = usage
        self._responder = responder
        self._accel = accel
        self._redirect = redirect

    async def answer(self, request: web.BaseRequest, image_id: str, context: RequestContext) -> web.StreamResponse:
        """Send the image's bytes, a redirect to them, or an X-Accel-Redirect for nginx; raises ``GatewayError``.

        ``image_id`` must be valid. One request beyond ``max_streams`` is refused at once (``Overloaded``), so that
        those in flight stay fast.
        """
        if not self._is_enabled:
            raise RouteNotFound
        query = request.query if request.rel_url.raw_query_string else _NO_QUERY
        image_request = ImageRequest.parse(image_id, query, request.headers, request.method)
        if self._streams >= self._max_streams:
            raise Overloaded(f"{self._streams} streams in flight")
        self._streams += 1
        try:
            lookup, style = self._lookup, image_request.style
            resolved = lookup.get_cached(request, image_id, style) or await lookup.look_up(request, image_id, style)
            image = resolved.image
            self._usage.accessed(image_id, style)
            context.delivery = delivery = "redirect" if image_request.redirect else self._delivery
            if delivery == "redirect":
                return self._redirect.answer(request.method, image, download=image_request.download)
            exchange = Exchange(request, context, image_request, image, lookup.resolve_again)
            return await (self._accel if delivery == "accel" else self._responder).answer(exchange)
        finally:
            self._streams -= 1
