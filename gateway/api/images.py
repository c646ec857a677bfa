"""Handlers for one image: its bytes, its presigned URL, its status."""

from aiohttp import web

from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.caller import Callers, head_of
from gateway.api.image_handler import ImageHandler
from gateway.api.image_state import ImageState
from gateway.api.new_urls import NewUrls
from gateway.api.url_handler import UrlHandler
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.request_context import REQUEST_CONTEXT


class ImageCalls:
    """Calls of clients about one image."""

    def __init__(
        self,
        handler: ImageHandler,
        url_handler: UrlHandler,
        lookup: AuthorizedLookup,
        callers: Callers,
        new_urls: NewUrls,
        state: ImageState,
    ) -> None:
        self._handler = handler
        self._url_handler = url_handler
        self._lookup = lookup
        self._callers = callers
        self._new_urls = new_urls
        self._state = state

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        """Send the image, for an address that the router had to decode. ``ImageHandler`` handles other addresses."""
        exchange = self._handler.begin(head_of(request), _id_in(request), request[REQUEST_CONTEXT])
        return await self._handler.answer(request, exchange)

    async def url(self, request: web.Request) -> web.StreamResponse:
        """Return the presigned URL for an address that the router had to decode. ``UrlHandler`` handles others."""
        return await self._url_handler.answer(request, _id_in(request))

    async def refresh(self, request: web.Request) -> web.Response:
        """Sign and return a new presigned URL, for the owner."""
        image_id, caller = _id_in(request), self._callers.of(request)
        await self._lookup.own(caller, image_id)
        image = await self._new_urls.sign(image_id)
        return self._new_urls.response(image, self._lookup.owned(caller, image))

    async def status(self, request: web.Request) -> web.Response:
        """Return the state of the image's cached URL and its usage, for the owner."""
        image_id = _id_in(request)
        owned = await self._lookup.own(self._callers.of(request), image_id)
        return await self._state.response(image_id, owned.presigned)


def _id_in(request: web.Request) -> str:
    return parse_image_id(request.match_info["image_id"])
