"""Handle requests for an image's presigned URL: look up and authorize, count, answer."""

from json.encoder import encode_basestring_ascii as _quote
from typing import Final

from aiohttp import web

from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.json_responses import HEADERS
from gateway.delivery.headers import CORS
from gateway.delivery.prepared_response import Prepared, PreparedResponse, fields
from gateway.presign.public_url import PublicUrls
from gateway.presign.signed_image import ImageVariant
from gateway.urls.usage_counter import UsageCounter

_FIELDS: Final = fields({"Content-Type": "application/json", **HEADERS, **CORS}).encode()


class UrlHandler:
    """Handles ``GET /api/v1/images/{id}/url``, for clients that fetch from COS directly."""

    def __init__(self, lookup: AuthorizedLookup, usage: UsageCounter, public_urls: PublicUrls) -> None:
        self._lookup = lookup
        self._usage = usage
        self._public_urls = public_urls

    async def answer(self, request: web.BaseRequest, image_id: str) -> web.StreamResponse:
        """Return the URL, its end and its uses as JSON. Raises ``GatewayError``. ``image_id`` must be valid."""
        image, from_cache = await self._lookup.view(request, image_id)
        self._usage.accessed(image_id)
        access_count = await self._usage.access_count(ImageVariant(image_id))
        presigned = self._public_urls.presign(image)
        # As ``success`` writes it. ``json.dumps`` takes 9 microseconds instead of 1, a tenth of a cached answer.
        body = (
            f'{{"status": "success", "message": "ok", "data": {{"image_id": "{image_id}", '
            f'"url": {_quote(presigned.url)}, "expires_at": {presigned.expires_at}, '
            f'"from_cache": {"true" if from_cache else "false"}, '
            f'"version": "{image.record.version_token}", "access_count": {access_count}}}}}\n'
        )
        return PreparedResponse(Prepared.of(_FIELDS, "", body.encode()))
