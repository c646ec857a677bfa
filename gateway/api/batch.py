"""Presigned URLs of many images in one request, optionally with their metadata."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.caller import Callers
from gateway.api.json_body import Bodies
from gateway.api.json_responses import success
from gateway.api.meta import Metadata
from gateway.catalog.image_id import parse_image_id
from gateway.concurrency.time_slices import TimeSlices
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import GatewayError, ImageNotFound, InvalidImageId, InvalidRequest
from gateway.presign.public_url import PublicUrls
from gateway.urls.usage_counter import UsageCounter

MAX_IMAGES = 200


class UrlBatches:
    """Makes presigned URLs of up to ``MAX_IMAGES`` images."""

    def __init__(
        self,
        lookup: AuthorizedLookup,
        callers: Callers,
        usage: UsageCounter,
        public_urls: PublicUrls,
        metadata: Metadata,
        bodies: Bodies,
    ) -> None:
        self._lookup = lookup
        self._callers = callers
        self._usage = usage
        self._public_urls = public_urls
        self._metadata = metadata
        self._bodies = bodies

    async def urls(self, request: web.Request) -> web.Response:
        """Return for each id its URL, or the code of the error that a request for it alone would get."""
        body = await self._bodies.json(request)
        valid, errors = validated(image_ids_in(body))
        with_meta = _includes_meta(body)
        found: dict[str, dict[str, Any]] = {}
        results = await self._lookup.view_many(self._callers.of(request), valid)
        slices = TimeSlices()
        for image_id, result in results.items():
            await slices.pause()
            if isinstance(result, GatewayError):
                errors[image_id] = result.code
                continue
            self._usage.accessed(image_id)
            presigned = self._public_urls.presign(result.image)
            found[image_id] = {
                "url": presigned.url,
                "expires_at": presigned.expires_at,
                "from_cache": result.from_cache,
                "version": result.image.record.version_token,
            }
        if with_meta:
            await self._add_metadata(request, valid, found, errors)
        # Else the duration of a batch would show which images exist.
        request[REQUEST_CONTEXT].is_denial = bool(errors)
        return success({"urls": found, "errors": errors})

    async def _add_metadata(
        self, request: web.Request, image_ids: list[str], found: dict[str, dict[str, Any]], errors: dict[str, str]
    ) -> None:
        """Add ``meta``. An image whose original is only for its owner then has no URL instead of an error."""
        records = await self._lookup.records(self._callers.of(request), image_ids)
        for image_id, meta in (await self._metadata.of(request, list(records.values()))).items():
            if errors.get(image_id) == ImageNotFound.code:
                del errors[image_id]
                found[image_id] = {"url": None, "expires_at": None, "from_cache": False, "version": meta["version"]}
            if image_id in found:
                found[image_id]["meta"] = meta


def _includes_meta(body: dict[str, Any]) -> bool:
    """Return whether ``include`` lists ``meta``. Raises ``InvalidRequest`` unless it is a list of nothing else."""
    include = body.get("include", [])
    if not isinstance(include, list) or any(name != "meta" for name in include):
        raise InvalidRequest('include must be ["meta"]')
    return bool(include)


def image_ids_in(body: Any) -> list[str]:
    """Return the ``image_ids`` of a body, each not yet validated. Raises ``InvalidRequest``."""
    image_ids = body.get("image_ids") if isinstance(body, dict) else None
    if not isinstance(image_ids, list) or not all(isinstance(image_id, str) for image_id in image_ids):
        raise InvalidRequest('the body must be {"image_ids": ["…"]}')
    if not 1 <= len(image_ids) <= MAX_IMAGES:
        raise InvalidRequest(f"image_ids must name 1 to {MAX_IMAGES} images")
    return image_ids


def validated(image_ids: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return the ids that are valid, and the error code of each that is not."""
    valid: list[str] = []
    errors: dict[str, str] = {}
    for image_id in image_ids:
        try:
            valid.append(parse_image_id(image_id))
        except InvalidImageId as error:
            errors[image_id] = error.code
    return valid, errors
