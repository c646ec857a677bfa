"""``GET /api/v1/images/{id}/access``: whether the caller may view the image, only as a status.

For caches that keep private images and ask on every hit: nginx's ``auth_request``, and the remote authentication of
CDNs. The former takes 200, 401 and 403 as an answer and any other status as its own failure, a 500.
"""

import time
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.access.caller import Caller
from gateway.access.policy import Permission, refusal
from gateway.access.request_head import Address, is_address_of, original_address
from gateway.access.signed_links import short_address
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.nginx_decisions import DECISION_FOR, NginxDecisions
from gateway.delivery.parameters import VariantRequests
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import GatewayError, ImageNotFound, InvalidRequest, Unauthorized
from gateway.metrics.loop_counters import LoopCounter
from gateway.settings import ImageProxySettings, Live
from gateway.urls.aliases import PATH, Aliases, alias_in

OF_ALIAS: Final = "-"  # in place of an id: the image is that of the alias in the original address
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class AccessCheck:
    """Handler for nginx's ``auth_request``: answers by status whether a client may view an image, or a style of it."""

    lookup: AuthorizedLookup
    variant_requests: VariantRequests
    decisions: NginxDecisions
    results: LoopCounter
    aliases: Aliases | None
    proxy: Live[ImageProxySettings]

    async def access(self, request: web.Request) -> web.Response:
        """Return 200, 401 or 403 without a body. 403 also for an invalid address, and while the answer is not known."""
        status, result, headers = 200, "allowed", _HEADERS
        allowed: tuple[Caller, Permission] | None = None
        try:
            allowed = await self._check(request)
        except Unauthorized as error:
            status, result, headers = 401, "unauthorized", {**_HEADERS, **error.headers}
        except (ImageNotFound, InvalidRequest):
            status, result = 403, "forbidden"
        except GatewayError as error:
            status, result = 403, "unavailable"
            request[REQUEST_CONTEXT].fails(error)
        except Exception as error:  # noqa: BLE001 - the dispatch would answer 500; it logs the error
            status, result = 403, "unavailable"
            request[REQUEST_CONTEXT].fails_unexpectedly(error)
        self.results.add((result,))
        # The status reveals no more than that of the image would; the duration must not reveal more either.
        request[REQUEST_CONTEXT].is_denial = status != 200
        if allowed is not None and (kept_for := self.decisions.on_access(request.headers, *allowed, time.time())):
            headers = {**headers, DECISION_FOR: str(kept_for)}
        return web.Response(status=status, headers=headers)

    async def _check(self, request: web.Request) -> tuple[Caller, Permission]:
        """Return the caller and their right to view the image, or the style that the original address names."""
        if not self.proxy.value.enabled:
            raise ImageNotFound("image_proxy.enabled is off")
        text, address, aliases = request.match_info["image_id"], original_address(request.headers), self.aliases
        if text != OF_ALIAS or aliases is None or address is None or not address.path.startswith(PATH):
            aliases, image_id = None, parse_image_id(text)
            if address is None or not is_address_of(address.path, image_id):
                address = Address(short_address(image_id), request.query)
        rendition = self.variant_requests.variant(address.query, request.headers).rendition
        caller = self.lookup.caller_of(request, address)
        if aliases is not None:  # after all that does not depend on the image
            try:
                image_id = await aliases.image_of(alias_in(address.path))
            except ImageNotFound as error:
                raise refusal(caller) from error
        return caller, await self.lookup.check(caller, image_id, rendition)


async def ignore_expectation(_: web.Request) -> None:
    """Send no 100 and no 417: the request has no body that could wait for them (RFC 9110 section 10.1.1)."""
