"""One image: its bytes, or the way to them."""

from collections.abc import Mapping

from aiohttp import web

from gateway.access.identity import Caller
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.caller import Callers
from gateway.concurrency.stream_limit import StreamLimit
from gateway.delivery.accel import ImageAccel
from gateway.delivery.exchange import Exchange
from gateway.delivery.image_request import ImageRequest
from gateway.delivery.redirect import ImageRedirect
from gateway.delivery.request_context import RequestContext
from gateway.delivery.stream import ImageStream
from gateway.errors import RouteNotFound
from gateway.presign.presigned_url import SignedImage
from gateway.settings import ImageProxySettings
from gateway.urls.usage_counter import UsageCounter

_NO_QUERY: Mapping[str, str] = {}


class ImageProxy:
    """Answers requests for images: understood, looked up, checked, counted, delivered."""

    def __init__(
        self,
        settings: ImageProxySettings,
        *,
        limit: StreamLimit,
        callers: Callers,
        viewing: AuthorizedLookup,
        usage: UsageCounter,
        stream: ImageStream,
        accel: ImageAccel,
        redirect: ImageRedirect,
    ) -> None:
        self._is_enabled = settings.enabled
        self._delivery = settings.delivery
        self._limit = limit
        self._callers = callers
        self._lookup = viewing
        self._usage = usage
        self._stream = stream
        self._accel = accel
        self._redirect = redirect

    async def answer(self, request: web.BaseRequest, image_id: str, context: RequestContext) -> web.StreamResponse:
        """The image's bytes, a redirect to them, or word to nginx where they are; raises ``GatewayError``."""
        if not self._is_enabled:
            raise RouteNotFound
        query = request.query if request.rel_url.raw_query_string else _NO_QUERY
        wanted = ImageRequest.parse(image_id, query, request.headers)

        def identify() -> Caller:
            return self._callers.of(request)

        async def view_again() -> SignedImage:
            return (await self._lookup.view_for(identify, wanted.image_id, wanted.style)).image

        self._limit.take()
        try:
            viewed = self._lookup.at_hand(identify, wanted.image_id, wanted.style)
            if viewed is None:
                viewed = await self._lookup.looked_up(identify, wanted.image_id, wanted.style)
            image = viewed.image
            self._usage.accessed(wanted.image_id, wanted.style)
            context.delivery = delivery = "redirect" if wanted.redirect else self._delivery
            if delivery == "redirect":
                return self._redirect.answer(request.method, image, download=wanted.download)
            exchange = Exchange(request, wanted, context.stamp, view_again)
            return await (self._accel if delivery == "accel" else self._stream).answer(exchange, image)
        finally:
            self._limit.give_back()
