"""Presigned URLs of many images in one request, optionally with their metadata."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from gateway.api.app_keys import AUTHORIZED_LOOKUP, CALLERS, PUBLIC_URLS, USAGE
from gateway.api.json_body import json_body
from gateway.api.json_responses import success
from gateway.api.meta import metadata_of
from gateway.catalog.image_id import parse_image_id
from gateway.concurrency.time_slices import TimeSlices
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import GatewayError, ImageNotFound, InvalidImageId, InvalidRequest

MAX_IMAGES = 200


async def urls(request: web.Request) -> web.Response:
    """Return for each id its URL, or the code of the error that a request for it alone would get."""
    body = await json_body(request)
    valid, errors = validated(image_ids_in(body))
    with_meta = _includes_meta(body)
    found: dict[str, dict[str, Any]] = {}
    results = await request.app[AUTHORIZED_LOOKUP].view_many(request.app[CALLERS].of(request), valid)
    slices = TimeSlices()
    for image_id, result in results.items():
        await slices.pause()
        if isinstance(result, GatewayError):
            errors[image_id] = result.code
            continue
        request.app[USAGE].accessed(image_id)
        presigned = request.app[PUBLIC_URLS].presign(result.image)
        found[image_id] = {
            "url": presigned.url,
            "expires_at": presigned.expires_at,
            "from_cache": result.from_cache,
            "version": result.image.record.version_token,
        }
    if with_meta:
        await _add_metadata(request, valid, found, errors)
    request[REQUEST_CONTEXT].is_denial = bool(errors)  # else the duration of a batch would show which images exist
    return success({"urls": found, "errors": errors})


async def _add_metadata(
    request: web.Request, image_ids: list[str], found: dict[str, dict[str, Any]], errors: dict[str, str]
) -> None:
    """Add ``meta``; an image whose original is only for its owner then has no URL instead of an error."""
    records = await request.app[AUTHORIZED_LOOKUP].records(request.app[CALLERS].of(request), image_ids)
    metadata = await metadata_of(request, list(records.values()))
    for image_id, meta in metadata.items():
        if errors.get(image_id) == ImageNotFound.code:
            del errors[image_id]
            found[image_id] = {"url": None, "expires_at": None, "from_cache": False, "version": meta["version"]}
        if image_id in found:
            found[image_id]["meta"] = meta


def _includes_meta(body: dict[str, Any]) -> bool:
    """Return whether ``include`` lists ``meta``; raises ``InvalidRequest`` unless it is a list of nothing else."""
    include = body.get("include", [])
    if not isinstance(include, list) or any(one != "meta" for one in include):
        raise InvalidRequest('include must be ["meta"]')
    return bool(include)


def image_ids_in(body: Any) -> list[str]:
    """Return the ``image_ids`` of a body, each not yet validated; raises ``InvalidRequest``."""
    image_ids = body.get("image_ids") if isinstance(body, dict) else None
    if not isinstance(image_ids, list) or not all(isinstance(one, str) for one in image_ids):
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
