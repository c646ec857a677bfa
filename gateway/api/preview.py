"""``GET /api/v1/monitoring/preview/{id}``: the bytes of an image for the console; needs the admin token."""

import logging
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.catalog.image_id import parse_image_id
from gateway.delivery.headers import CONTENT_SECURITY_POLICY, content_type_of
from gateway.delivery.relay import Relay
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import OriginUnavailable
from gateway.origin.errors import RowChanged
from gateway.origin.object_source import ObjectSource
from gateway.presign.signed_image import AuthorizedImage
from gateway.urls.resolver import UrlResolver

logger = logging.getLogger(__name__)

_MOST_LOOKUPS = 3
# Other fields than on the public port: no cache may keep a preview, and no page of another site may read it.
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Preview:
    """Sends originals to the admin."""

    def __init__(self, resolver: UrlResolver, source: ObjectSource, relay: Relay) -> None:
        self._resolver = resolver
        self._source = source
        self._relay = relay

    async def preview(self, request: web.Request) -> web.StreamResponse:
        """Send the original, also of a private image. The log names the image.

        Raises the errors of the resolver and of ``ObjectSource.whole``, and ``NotAnImage``.
        """
        image_id = parse_image_id(request.match_info["image_id"])
        logger.info("image shown to the admin: image=%s", image_id)
        resolver = self._resolver
        for _ in range(_MOST_LOOKUPS):
            resolved = resolver.get_cached(image_id) or await resolver.look_up(image_id)
            try:
                return await self._send(request, AuthorizedImage(resolved.image))
            except RowChanged:
                resolver.drop(image_id)
        raise OriginUnavailable(f"the image's row changed during {_MOST_LOOKUPS} look-ups")

    async def _send(self, request: web.Request, image: AuthorizedImage) -> web.StreamResponse:
        """Send the object from memory or from COS. Raises ``RowChanged``."""
        content = self._source.memory.content(image)
        if content is None or content.data is None:
            content = await self._source.whole(image)
        try:
            headers = _headers(image, content.metadata.content_type)
            if content.body is None:
                return web.Response(body=content.data, headers=headers)
            context, length = request[REQUEST_CONTEXT], content.metadata.size
            return await self._relay.send(request, context, content, headers, status=200, length=length)
        finally:
            if content.body is not None:
                content.body.close()


def _headers(image: AuthorizedImage, cos_type: str | None) -> "CIMultiDict[str]":
    return CIMultiDict({**_HEADERS, "Content-Type": content_type_of(image.record.content_type, cos_type)})
