"""Handlers for signed links: make one, make many, kill all of an image."""

from typing import Any

from aiohttp import web

from gateway.access.signed_links import SignedLinks, short_address
from gateway.api.app_keys import AUTHORIZED_LOOKUP, CALLERS, CATALOG, INVALIDATION, SIGNED_LINKS
from gateway.api.batch import image_ids_in, validated
from gateway.api.json_body import json_body
from gateway.api.json_responses import success
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import GatewayError, InvalidRequest, RouteNotFound

MAX_LIFETIME = 7 * 24 * 3600  # seconds


async def make(request: web.Request) -> web.Response:
    """Return a link that shows the image to anyone for ``expires_in`` seconds."""
    links = links_of(request)
    image_id = parse_image_id(request.match_info["image_id"])
    expires_in = _expires_in(await json_body(request))
    record = (await request.app[AUTHORIZED_LOOKUP].own(request.app[CALLERS].of(request), image_id)).record
    path = short_address(image_id)
    url, expires_at = links.make(path, expires_in=expires_in, links_killed=record.links_killed)
    return success({"image_id": image_id, "url": url, "expires_at": expires_at}, "a link was signed")


async def make_many(request: web.Request) -> web.Response:
    """Return a link for each image that the caller owns, or the code of the error that ``make`` would raise."""
    links = links_of(request)
    body = await json_body(request)
    expires_in = _expires_in(body)
    valid, errors = validated(image_ids_in(body))
    made: dict[str, dict[str, Any]] = {}
    owned = await request.app[AUTHORIZED_LOOKUP].own_many(request.app[CALLERS].of(request), valid)
    for image_id, result in owned.items():
        if isinstance(result, GatewayError):
            errors[image_id] = result.code
            continue
        url, expires_at = links.make(short_address(image_id), expires_in=expires_in, links_killed=result.links_killed)
        made[image_id] = {"url": url, "expires_at": expires_at}
    request[REQUEST_CONTEXT].is_denial = bool(errors)  # else the duration of a batch would show which images exist
    return success({"links": made, "errors": errors}, "links were signed")


async def kill(request: web.Request) -> web.Response:
    """Invalidate every link to the image at once, with any key."""
    links_of(request)
    image_id = parse_image_id(request.match_info["image_id"])
    await request.app[AUTHORIZED_LOOKUP].own(request.app[CALLERS].of(request), image_id)
    return await kill_all(request.app, image_id)


async def kill_all(app: web.Application, image_id: str) -> web.Response:
    """Invalidate every link to the image; the caller has checked the id and access."""
    kills = await app[CATALOG].kill_links(image_id)
    await app[INVALIDATION].invalidate_everywhere([image_id])
    return success({"image_id": image_id, "killed": kills}, "all links to the image are invalid")


def links_of(request: web.Request) -> SignedLinks:
    """Return what signs links; raises ``RouteNotFound`` unless they are configured."""
    if SIGNED_LINKS not in request.app:
        raise RouteNotFound("signed_links is not configured")
    return request.app[SIGNED_LINKS]


def _expires_in(body: Any) -> int:
    seconds = body.get("expires_in") if isinstance(body, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= MAX_LIFETIME:
        raise InvalidRequest(f"expires_in must be a number of seconds, 1 to {MAX_LIFETIME}")
    return seconds
