"""``GET /api/v1/images/{id}/access``: may the caller view the image, in a status alone.

For caches that keep private images and ask on every hit: nginx's ``auth_request``, and the remote authentication of
CDNs. The former takes 200, 401 and 403 as an answer and any other status as its own failure, a 500.
"""

import logging
from typing import Final

from aiohttp import web

from gateway.api.app_keys import AUTHORIZED_LOOKUP, CALLERS, METRICS
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.errors import GatewayError, ImageNotFound, InvalidImageId, Unauthorized

logger = logging.getLogger(__name__)

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def access(request: web.Request) -> web.Response:
    """Return 200, 401 or 403 without a body; 403 also for an invalid id, and while the answer is not known."""
    status, result, headers = 200, "allowed", _HEADERS
    try:
        image_id = parse_image_id(request.match_info["image_id"])
        await request.app[AUTHORIZED_LOOKUP].check(request.app[CALLERS].of_original(request, image_id), image_id)
    except Unauthorized as error:
        status, result, headers = 401, "unauthorized", {**_HEADERS, **error.headers}
    except (ImageNotFound, InvalidImageId):
        status, result = 403, "forbidden"
    except GatewayError as error:
        status, result = 403, "unavailable"
        logger.warning("access check failed, so access is denied: code=%s reason=%s", error.code, error)
    except Exception:  # the dispatch would answer 500
        status, result = 403, "unavailable"
        logger.exception("access check failed unexpectedly, so access is denied")
    request.app[METRICS].access_checks.add((result,))
    # The status tells no more than that of the image would, and neither may the time.
    request[REQUEST_CONTEXT].is_denial = status != 200
    return web.Response(status=status, headers=headers)


async def ignore_expectation(request: web.Request) -> None:
    """Send no 100 and no 417: the request has no body that could wait for one (RFC 9110 section 10.1.1)."""
    del request
