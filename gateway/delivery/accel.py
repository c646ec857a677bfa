"""Delivery by nginx: the gateway authorizes and decides, nginx fetches the bytes from COS (X-Accel-Redirect).

nginx decodes the URI of an X-Accel-Redirect, which breaks the signature of many keys. So that URI only names one
version of an object, under which nginx may cache it; the exact URL is in another header. Cache-Control and
Content-Disposition also have headers under other names, because nginx would otherwise add them to errors.
"""

import hashlib
import time
from collections.abc import Callable, Mapping

from aiohttp import hdrs, web

from gateway.delivery.conditions_and_ranges import NOT_MODIFIED, WHOLE, plan_for
from gateway.delivery.headers import content_type_of, image_headers, own_fields
from gateway.delivery.image_request import Exchange
from gateway.delivery.responder import Responder
from gateway.origin.content import Content
from gateway.origin.errors import RowChanged
from gateway.origin.object_source import ObjectSource
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signed_image import SignedImage

# nginx sets this field when it did not get the object from COS: the gateway then streams, with retries and resumption.
FAILED = "X-Accel-Failed"
# What follows the prefix in an X-Accel-Redirect.
REDIRECTED = "(?:part/)?[0-9a-f]{40}"


class ImageAccel:
    """Answers requests that need no bytes, and passes all others to nginx.

    require_nginx: raises ``AccelNotConfigured`` if the header fields are not of a request through ``accel.conf``.
    kept_for: returns for how many seconds nginx may repeat the answer to others that may see the image.
    """

    def __init__(
        self,
        source: ObjectSource,
        responder: Responder,
        *,
        prefix: str,
        require_nginx: Callable[[Mapping[str, str]], None],
        kept_for: Callable[[Exchange], int],
    ) -> None:
        self._source = source
        self._responder = responder
        self._prefix = prefix
        self._require_nginx = require_nginx
        self._kept_for = kept_for

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Return a 304, the headers of a HEAD, or an ``X-Accel-Redirect``.

        Raises ``AccelNotConfigured``, and what ``Responder.answer`` raises.

        Metadata that is not in memory is fetched by a HEAD. So errors are the gateway's own, only images are handed
        over, and a URL that COS refuses is renewed before nginx uses it.
        """
        self._require_nginx(exchange.request.headers)
        # COS's HEAD may not describe a rendition, and each GET of one is a charge: the gateway sends it from memory.
        if exchange.wanted.is_head or exchange.image.rendition is not None or _needs_gateway(exchange):
            return await self._responder.answer(exchange)
        content = self._source.in_memory(exchange.image)
        if content is None:
            exchange.context.origin_started = time.perf_counter()
            try:
                content = await self._source.head(exchange.image)
            except RowChanged:
                await exchange.resolve_again()
                return await self._responder.answer(exchange)
        return self._handed_over(exchange, content)

    def _handed_over(self, exchange: Exchange, content: Content) -> web.Response:
        """Return the response that passes the image to nginx."""
        wanted, image, metadata = exchange.wanted, content.image, content.metadata
        content_type_of(
            image.record.content_type, metadata.content_type
        )  # raises ``NotAnImage`` before conditions count
        plan = plan_for(exchange.request.headers, wanted.byte_range, metadata)
        with_body = plan is not NOT_MODIFIED
        headers = image_headers(image, metadata, exchange.policy, download=wanted.download, with_body=with_body)
        headers.update(own_fields(content, WHOLE, is_substitute=exchange.is_fallback))
        if plan is NOT_MODIFIED:
            return web.Response(status=304, headers=headers)
        del headers["Accept-Ranges"]  # nginx would send it and COS's
        # nginx fetches a range of a large object from COS. It cuts a range of a small object out of its cache.
        is_part = plan.status == 206 and not self._source.keeps(metadata)
        headers["X-Accel-Redirect"] = f"{self._prefix}{'part/' if is_part else ''}{_version(image, metadata)}"
        headers["X-Origin-URL"] = image.presigned.url
        length = metadata.size
        if is_part and plan.last is not None:
            headers["X-Origin-Range"] = f"bytes={plan.first}-{plan.last}"
            length = plan.last + 1 - plan.first
        # nginx compares COS's response with these, and sends the tag as If-Match, too.
        if metadata.strong_etag is not None:
            headers["X-Origin-ETag"] = metadata.strong_etag
        if length is not None:
            headers["X-Origin-Length"] = str(length)
        if seconds := self._kept_for(exchange):
            headers["X-Decision-For"] = str(seconds)
        for name in (hdrs.CACHE_CONTROL, hdrs.CONTENT_DISPOSITION):
            if name in headers:
                headers[f"X-Image-{name}"] = headers.pop(name)
        return web.Response(headers=headers)


def _needs_gateway(exchange: Exchange) -> bool:
    """Return whether nginx failed to get the object, or would answer the request wrongly.

    nginx answers an invalid Range with 416 and several ranges with several parts, where the gateway ignores them. With
    If-Unmodified-Since, even if other conditions are present, it may close the connection without a response. Such
    requests are rare, so they are streamed.
    """
    headers = exchange.request.headers
    return (
        FAILED in headers
        or hdrs.IF_UNMODIFIED_SINCE in headers
        or (hdrs.RANGE in headers and exchange.wanted.byte_range is None)
    )


def _version(image: SignedImage, metadata: ObjectMetadata) -> str:
    """Return nginx's cache key: the name of one version of one object. The URL is no key, because it changes."""
    bucket, region, key, rendition, *_ = image.object_id
    named = "\n".join(
        (bucket, region, key, str(rendition), str(metadata.etag), str(metadata.last_modified), str(metadata.size))
    )
    return hashlib.sha256(named.encode()).hexdigest()[:40]
