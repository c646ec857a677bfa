"""Deliver a rendition. If COS does not make it, deliver another format, then the original."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from gateway.delivery.image_request import Exchange
from gateway.errors import GatewayError, ImageNotFound, ImageTooLarge, OriginRejected, TooManyVariants, Unauthorized
from gateway.origin.metrics import OriginMetrics
from gateway.origin.refused_variants import RefusedVariants
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import AuthorizedImage

logger = logging.getLogger(__name__)

Deliver = Callable[[Exchange], Awaitable[web.StreamResponse]]

# Errors of the image or of the rule rather than of COS itself: another rule may succeed.
REFUSALS: Final = (ImageTooLarge, OriginRejected)


def not_made() -> GatewayError:
    """Return the error of a rendition that COS is not asked for."""
    return ImageTooLarge("COS did not make the variant a moment ago")


class VariantDelivery:
    """Answers requests for renditions, by ``deliver``, which raises one of ``REFUSALS`` before the first byte."""

    def __init__(self, renditions: Renditions, refused: RefusedVariants, metrics: OriginMetrics) -> None:
        self._renditions = renditions
        self._refused = refused
        self._counts = metrics.variants

    def is_refused(self, image: AuthorizedImage) -> bool:
        """Return whether COS did not make this rendition a moment ago, so that ``answer`` would replace it."""
        return self._refused.holds(image)

    async def answer(self, exchange: Exchange, deliver: Deliver) -> web.StreamResponse:
        """Return the answer with the rendition, or with its replacement.

        Raises the errors of ``deliver``. A refusal of COS is raised only if the caller may not see the original.
        """
        self._locate(exchange)
        while True:
            image = exchange.image
            refusal: GatewayError | None = None
            requested_at = self._refused.now()
            if image.rendition is None or not self.is_refused(image):
                try:
                    return await deliver(exchange)
                except REFUSALS as error:
                    if image.rendition is None:
                        raise
                    logger.info(
                        "COS did not make a variant: image=%s variant=%s reason=%s",
                        image.record.image_id,
                        image.rendition,
                        error,
                    )
                    self._refused.refused(image, error, requested_at)
                    refusal = error.with_traceback(None)
            await self._fall_back(exchange, refusal)

    async def _fall_back(self, exchange: Exchange, refusal: GatewayError | None) -> None:
        image = exchange.image
        if not exchange.is_fallback:
            self.count(image.rendition, "fallback")
        try:
            try:
                await exchange.fall_back(self._refused.substitute_for(image, refusal))
            except TooManyVariants:
                await exchange.fall_back(None)
        except (ImageNotFound, Unauthorized):
            # The caller may see this style of the image and not the original.
            raise refusal or not_made() from None
        self._locate(exchange)

    def _locate(self, exchange: Exchange) -> None:
        """Set Content-Location if the client requested the sent image by another address (RFC 9110 section 8.7)."""
        context = exchange.context
        if context.is_negotiated:
            query = self._renditions.query(exchange.image.rendition)
            path = exchange.request.rel_url.raw_path
            context.content_location = f"{path}?{query}" if query else path

    def count(self, name: str | None, result: str) -> None:
        """Count a request for a rendition that was answered in another way."""
        if name is not None:
            rendition = self._renditions.get(name)
            self._counts.labels(style=rendition.style, format=rendition.format or "fixed", result=result).inc()
