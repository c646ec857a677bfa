"""Signed links: make one, make many, kill all of an image."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.access.signed_links import SignedLinks, short_address
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.json_bodies import image_ids_in, read_json, success, validated
from gateway.catalog.image_id import parse_image_id
from gateway.catalog.postgres import PostgresCatalog
from gateway.catalog.record import ImageRecord
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import GatewayError, InvalidRequest
from gateway.urls.invalidation import Invalidation
from gateway.urls.resolver import UrlResolver

MAX_LIFETIME = 7 * 24 * 3600  # seconds


@dataclass(frozen=True, slots=True)
class LinkCalls:
    """Handlers by which owners and the admin make signed links (URLs of this gateway), and kill (invalidate) them."""

    links: SignedLinks
    lookup: AuthorizedLookup
    catalog: PostgresCatalog
    resolver: UrlResolver
    invalidation: Invalidation

    async def make(self, request: web.Request) -> web.Response:
        """Return a link that shows the image to anyone for ``expires_in`` seconds."""
        image_id = parse_image_id(request.match_info["image_id"])
        expires_in = _expires_in(await read_json(request))
        record = (await self.lookup.own(request, image_id)).record
        return success({"image_id": image_id, **self._make(record, expires_in)}, "a link was signed")

    async def make_many(self, request: web.Request) -> web.Response:
        """Return a link for each image that the caller owns, or the code of the error that ``make`` would raise."""
        body = await read_json(request)
        expires_in = _expires_in(body)
        valid, errors = validated(image_ids_in(body))
        made: dict[str, dict[str, Any]] = {}
        for image_id, result in (await self.lookup.own_many(request, valid)).items():
            if isinstance(result, GatewayError):
                errors[image_id] = result.code
            else:
                made[image_id] = self._make(result.image.record, expires_in)
        request[REQUEST_CONTEXT].is_denial = bool(errors)  # else the duration of a batch would show which images exist
        return success({"links": made, "errors": errors}, "links were signed")

    def _make(self, record: ImageRecord, expires_in: int) -> dict[str, Any]:
        path = short_address(record.image_id)
        url, expires_at = self.links.make(path, expires_in=expires_in, links_killed=record.links_killed)
        return {"url": url, "expires_at": expires_at}

    async def kill(self, request: web.Request) -> web.Response:
        """Invalidate every link to an image of the caller at once, with any key."""
        image_id = parse_image_id(request.match_info["image_id"])
        await self.lookup.own(request, image_id)
        return await self._kill_all(image_id)

    async def kill_of_any(self, request: web.Request) -> web.Response:
        """Invalidate every link to any user's image, for the admin."""
        image_id = parse_image_id(request.match_info["image_id"])
        await self.resolver.peek(image_id)  # raises ``ImageNotFound``
        return await self._kill_all(image_id)

    async def _kill_all(self, image_id: str) -> web.Response:
        kills = await self.catalog.kill_links(image_id)
        await self.invalidation.drop([image_id])
        return success({"image_id": image_id, "killed": kills}, "all links to the image are invalid")


def _expires_in(body: Any) -> int:
    seconds = body.get("expires_in") if isinstance(body, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= MAX_LIFETIME:
        raise InvalidRequest(f"expires_in must be a number of seconds, 1 to {MAX_LIFETIME}")
    return seconds
