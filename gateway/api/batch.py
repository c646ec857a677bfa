"""Presigned URLs of many images in one request."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from gateway.api.app_keys import AUTHORIZED_LOOKUP, CALLERS, PUBLIC_URLS, USAGE
from gateway.api.json_body import json_body
from gateway.api.json_responses import success
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import GatewayError, InvalidImageId, InvalidRequest

MAX_IMAGES = 200


async def urls(request: web.Request) -> web.Response:
    """Return for each id its URL, or the code of the error that a request for it alone would get."""
    valid, errors = validated(image_ids_in(await json_body(request)))
    found: dict[str, dict[str, Any]] = {}
    for image_id, result in (
        await request.app[AUTHORIZED_LOOKUP].view_many(request.app[CALLERS].of(request), valid)
    ).items():
        if isinstance(result, GatewayError):
            errors[image_id] = result.code
            continue
        request.app[USAGE].accessed(image_id)
        presigned = request.app[PUBLIC_URLS].presign(result.image)
        found[image_id] = {"url": presigned.url, "expires_at": presigned.expires_at, "from_cache": result.from_cache}
    request[REQUEST_CONTEXT].is_denial = bool(errors)  # else the duration of a batch would show which images exist
    return success({"urls": found, "errors": errors})


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
