"""The one place where errors become responses."""

import logging
from typing import Final

from aiohttp import web

from gateway.api.json_bodies import failure
from gateway.delivery.fallback_picture import FallbackPicture, stands_in_for
from gateway.delivery.relay import ClientLeft, RelayAborted
from gateway.delivery.request_context import RequestContext
from gateway.errors import DENIALS, GatewayError, InvalidRequest, MethodNotAllowed, RouteNotFound
from gateway.metrics.history import BYTES_ROUTES
from gateway.metrics.loop_counters import ABORTED
from gateway.server.slow_clients import reset

logger = logging.getLogger(__name__)

# Counted in place of a status if the client disconnected before its response was complete (nginx uses this number).
CLIENT_DISCONNECTED: Final = "499"
UNMATCHED: Final = "unmatched"  # the route of a request that the router has not seen, or not known
# Statuses whose reason the client does not get.
_REFUSALS: Final = frozenset({401, 403, 404})
_EXPECTED: Final = (GatewayError, ClientLeft, RelayAborted, web.HTTPException)


def error_response(
    request: web.BaseRequest, context: RequestContext, error: Exception, fallback: FallbackPicture | None
) -> web.StreamResponse:
    """Map an error to a response, and note it. The response to an unexpected error says nothing about it.

    Once the status is sent, the connection is reset instead: the response would be read as a part of the body.
    """
    has_left = isinstance(error, ClientLeft)
    is_begun = has_left or isinstance(error, RelayAborted) or request.writer.output_size > 0
    if isinstance(error, _EXPECTED):
        context.fails(error, is_fault=is_begun and not has_left)
    else:
        context.fails_unexpectedly(error)
    if is_begun:
        context.outcome = CLIENT_DISCONNECTED if has_left else ABORTED
        reset(request.transport)
        return web.Response()  # aiohttp requires a response from every handler; this one is never written
    answer = _gateway_error(error)
    if answer.status in _REFUSALS and logger.isEnabledFor(logging.DEBUG):
        image_id = context.image_id or image_id_in_path(request)
        logger.debug("request refused: code=%s image=%s reason=%s", answer.code, image_id, answer)
    context.is_denial = not context.may_view and isinstance(answer, DENIALS)
    if (
        fallback is not None
        and (context.route or route_name(request)) in BYTES_ROUTES
        and stands_in_for(answer, fallback.statuses, request.method, request.headers)
    ):
        return fallback.response(answer)
    return failure(answer, context.request_id)


def _gateway_error(error: Exception) -> GatewayError:
    match error:
        case GatewayError():
            return error
        case web.HTTPMethodNotAllowed():
            return MethodNotAllowed(error.headers["Allow"])
        case web.HTTPNotFound():
            return RouteNotFound()
        case web.HTTPException():
            return InvalidRequest()
        case _:
            return GatewayError()


def route_name(request: web.BaseRequest) -> str:
    """Return the name of the matched route, which comes from a closed set, or ``unmatched``."""
    name = request.match_info.route.name if isinstance(request, web.Request) else None
    return name or UNMATCHED


def image_id_in_path(request: web.BaseRequest) -> str | None:
    """Return the image id in the path of the matched route, not yet validated, or None without one."""
    return request.match_info.get("image_id") if isinstance(request, web.Request) else None
