"""Handlers for one image: its bytes, its presigned URL, its state. For clients, and for the admin."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.image_handler import ImageHandler
from gateway.api.json_bodies import success
from gateway.api.urls import CachedUrls, UrlHandler
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.headers import CONTENT_SECURITY_POLICY, content_type_of
from gateway.delivery.relay import relay
from gateway.delivery.request_context import REQUEST_CONTEXT, head_of
from gateway.errors import InvalidRequest, OriginUnavailable, RouteNotFound
from gateway.metrics.loop_counters import LoopCounter
from gateway.metrics.recent_errors import RecentErrors
from gateway.objects.object_source import ObjectSource
from gateway.origin.cos_errors import RowChanged
from gateway.presign.signer import AuthorizedImage
from gateway.urls.aliases import Aliases, alias_in
from gateway.urls.resolver import UrlResolver

if TYPE_CHECKING:
    from gateway.explain.explanation import Explanation

logger = logging.getLogger(__name__)

_MOST_LOOKUPS = 3
# The credentials to explain: in header fields, because proxies and browsers record addresses.
_TOKEN_FIELD, _LINK_FIELD = "X-Explain-Token", "X-Explain-Link"
# Other fields than on the public port: no cache may keep a preview, and no page of another site may read it.
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class ImageCalls:
    """Handlers of clients' requests about one image: its bytes, its presigned URL and the state of that URL.

    aliases: None without ``postgres.columns.alias``.
    """

    handler: ImageHandler
    url_handler: UrlHandler
    lookup: AuthorizedLookup
    cached_urls: CachedUrls
    aliases: Aliases | None

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        """Send the image, for an address that the router had to decode. ``ImageHandler`` handles other addresses."""
        exchange = self.handler.begin(head_of(request), _id_in(request), request[REQUEST_CONTEXT])
        return await self.handler.answer(request, exchange)

    async def alias(self, request: web.Request) -> web.StreamResponse:
        """Send the image whose alias the address has now, as its other addresses do."""
        if self.aliases is None:
            raise RouteNotFound("postgres.columns.alias is not configured")
        head, context = head_of(request), request[REQUEST_CONTEXT]
        find_id = partial(self.aliases.image_of, alias_in(head.path))
        context.route = "alias"
        return await self.handler.answer(request, self.handler.begin(head, find_id, context))

    async def url(self, request: web.Request) -> web.StreamResponse:
        """Return the presigned URL for an address that the router had to decode. ``UrlHandler`` handles others."""
        return await self.url_handler.answer(request, _id_in(request))

    async def refresh(self, request: web.Request) -> web.Response:
        """Sign and return a new presigned URL, for the owner."""
        image_id = _id_in(request)
        await self.lookup.own(request, image_id)
        image = await self.cached_urls.sign(image_id)
        return self.cached_urls.response(image, self.lookup.owned(request, image))

    async def status(self, request: web.Request) -> web.Response:
        """Return the state of the image's cached URL and its usage, for the owner."""
        image_id = _id_in(request)
        return await self.cached_urls.state(image_id, (await self.lookup.own(request, image_id)).presigned)


@dataclass(frozen=True, slots=True)
class AdminImageCalls:
    """Handlers of the admin's requests about one image of any user."""

    resolver: UrlResolver
    cached_urls: CachedUrls
    source: ObjectSource
    sent_bytes: LoopCounter
    explained: "Callable[[str, Sequence[str | None], Mapping[str, str]], Awaitable[Explanation]]"
    recent_errors: RecentErrors

    async def refresh(self, request: web.Request) -> web.Response:
        """Sign a new presigned URL of any user's image. Return the URL if everybody may see the image, else null."""
        image = await self.cached_urls.sign(_id_in(request))
        return self.cached_urls.response(image, AuthorizedImage(image) if image.public else None)

    async def status(self, request: web.Request) -> web.Response:
        """Return the state of any user's image, as the owner gets it on the public port."""
        image_id = _id_in(request)
        return await self.cached_urls.state(image_id, (await self.resolver.peek(image_id)).presigned)

    async def preview(self, request: web.Request) -> web.StreamResponse:
        """Send the original for the console, also of a private image. The log names the image."""
        image_id = _id_in(request)
        logger.info("image shown to the admin: image=%s", image_id)
        for _ in range(_MOST_LOOKUPS):
            resolved = self.resolver.get_cached(image_id) or await self.resolver.look_up(image_id)
            try:
                return await self._send(request, AuthorizedImage(resolved.image))
            except RowChanged:
                self.resolver.drop(image_id)
        raise OriginUnavailable(f"the image's row changed during {_MOST_LOOKUPS} look-ups")

    async def _send(self, request: web.Request, image: AuthorizedImage) -> web.StreamResponse:
        """Send the object from memory or from COS. Raises ``RowChanged``."""
        content = self.source.memory.content(image)
        if content is None or content.data is None:
            content = await self.source.whole(image)
        try:
            content_type = content_type_of(image.record.content_type, content.metadata.content_type)
            headers = {**_HEADERS, "Content-Type": content_type}
            if content.body is None:
                return web.Response(body=content.data, headers=headers)
            begun, context = web.StreamResponse(headers=headers), request[REQUEST_CONTEXT]
            return await relay(request, begun, content, context, self.sent_bytes, content.metadata.size)
        finally:
            if content.body is not None:
                content.body.close()

    async def explain(self, request: web.Request) -> web.Response:
        """Explain the image to an anonymous caller, to ``?user=``, or to a caller with credentials in a header field.

        ``style``, ``w``, ``dpr``, ``r``, ``format`` and ``v`` choose a rendition. ``request``: id of a failed request.
        """
        image_id = _id_in(request)
        headers, query = request.headers, request.query
        given = headers.get(_TOKEN_FIELD), headers.get(_LINK_FIELD), query.get("user")
        if sum(credential is not None for credential in given) > 1:
            raise InvalidRequest(f"give one of user, {_TOKEN_FIELD} and {_LINK_FIELD}")
        explanation = await self.explained(image_id, given, query)
        request_id = query.get("request")
        failed = {"request": self.recent_errors.request(request_id)} if request_id else {}
        return success({**explanation.as_json(), **failed}, explanation.verdict.reason)


def _id_in(request: web.Request) -> str:
    return parse_image_id(request.match_info["image_id"])
