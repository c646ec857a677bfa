"""An image streamed from COS through the gateway: conditions first, then the bytes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from gateway.delivery.conditional import Validators, Verdict, evaluate, forwardable_conditions, range_applies
from gateway.delivery.headers import image_headers
from gateway.delivery.image_request import ImageRequest
from gateway.delivery.relay import Relay
from gateway.errors import OriginRefused, PreconditionFailed
from gateway.origin.client import OriginClient
from gateway.origin.errors import PresignedUrlRefused
from gateway.origin.response import OriginResponse
from gateway.urls.presigned import PresignedUrl, SignedImage

UrlOf = Callable[[SignedImage], PresignedUrl]
Renew = Callable[[SignedImage], Awaitable[SignedImage]]


class ImageStream:
    """Answers one request for an image with the object's bytes."""

    def __init__(self, origin: OriginClient, relay: Relay, *, max_age: int) -> None:
        self._origin = origin
        self._relay = relay
        self._max_age = max_age

    async def answer(
        self, request: web.Request, wanted: ImageRequest, image: SignedImage, *, url_of: UrlOf, renew: Renew
    ) -> web.StreamResponse:
        """200, 206 or 304.

        ``url_of`` gives an image's URL for the method of this request. ``renew`` is asked once for a new URL when COS
        refuses the first; it checks access again, since the row may have changed. Raises what the origin raises,
        ``OriginRefused``, ``NotAnImage``, ``PreconditionFailed`` and what ``Relay.send`` raises.
        """
        async with AsyncExitStack() as stack:
            image, origin = await stack.enter_async_context(
                self._open(request, wanted.byte_range, image, url_of, renew)
            )
            validators = Validators(origin.headers.etag, origin.headers.last_modified)
            if origin.status == 206 and not range_applies(request.headers.get("If-Range"), validators):
                # The client's copy is of another version: it needs the whole image.
                await stack.aclose()
                image, origin = await stack.enter_async_context(self._open(request, None, image, url_of, renew))
                validators = Validators(origin.headers.etag, origin.headers.last_modified)
            verdict = evaluate(request.headers, validators)
            if verdict is Verdict.PRECONDITION_FAILED:
                raise PreconditionFailed
            not_modified = verdict is Verdict.NOT_MODIFIED or origin.status == 304
            headers = image_headers(
                image.record,
                origin.headers,
                max_age=self._max_age,
                download=wanted.download,
                partial=origin.status == 206,
                with_body=not not_modified,
            )
            headers["Cache-Status"] = f"image-gateway; fwd=miss; fwd-status={origin.status}"
            if not_modified:
                return web.Response(status=304, headers=headers)
            return await self._relay.send(request, origin, headers, status=origin.status)

    @asynccontextmanager
    async def _open(
        self, request: web.Request, byte_range: str | None, image: SignedImage, url_of: UrlOf, renew: Renew
    ) -> AsyncIterator[tuple[SignedImage, OriginResponse]]:
        # None of these headers is signed, so they may be added to any presigned URL.
        headers = forwardable_conditions(request.headers)
        if byte_range is not None and request.method == "GET":  # RFC 9110 section 14.2: GET alone has ranges
            headers["Range"] = byte_range
        async with AsyncExitStack() as stack:
            try:
                opening = self._origin.open(url_of(image).url, method=request.method, headers=headers)
                origin = await stack.enter_async_context(opening)
            except PresignedUrlRefused:
                image = await renew(image)
                try:
                    opening = self._origin.open(url_of(image).url, method=request.method, headers=headers)
                    origin = await stack.enter_async_context(opening)
                except PresignedUrlRefused as error:
                    raise OriginRefused("COS refused a URL signed this moment") from error
            yield image, origin
