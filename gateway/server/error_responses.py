"""The one place where errors become responses.

Once the status is sent, an error response would be read as bytes of the body: the connection is reset instead.
"""

import logging
from typing import Final

from aiohttp import web

from gateway.api.json_responses import failure
from gateway.delivery.fallback_picture import FallbackPicture
from gateway.delivery.relay import ClientLeft, RelayAborted
from gateway.delivery.request_context import RequestContext
from gateway.errors import (
    GatewayError,
    ImageNotFound,
    InvalidRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    RouteNotFound,
    Unauthorized,
)
from gateway.metrics.loop_counters import ABORTED
from gateway.server.slow_clients import reset

logger = logging.getLogger(__name__)

# Counted in place of a status if the client disconnected before its response was complete (nginx uses this number).
CLIENT_DISCONNECTED: Final = "499"

UNMATCHED: Final = "unmatched"  # the route of a request that the router has not seen, or not known

# The addresses of images themselves, as the dispatch and the router name them.
_IMAGE_ROUTES: Final = frozenset({"short", "proxy"})

# Statuses whose reason the client does not get.
_REFUSALS: Final = frozenset({401, 403, 404})

ExpectedError = GatewayError | ClientLeft | RelayAborted | web.HTTPException | web.RequestPayloadError


def error_response(
    request: web.BaseRequest, context: RequestContext, error: ExpectedError, fallback: FallbackPicture | None
) -> web.StreamResponse:
    """Map an error to a response. Reset the connection if the status was already sent."""
    context.fails(error, is_fault=True if isinstance(error, RelayAborted) else None)
    match error:
        case ClientLeft():
            logger.debug("client disconnected: %s", error)
            return _reset_connection(request, context, CLIENT_DISCONNECTED)
        case RelayAborted():
            return _reset_connection(request, context, ABORTED)
        case web.HTTPException():
            return _error(request, context, _gateway_error(error), fallback)
        case web.RequestPayloadError():
            return _error(request, context, InvalidRequest("the body cannot be read"), fallback)
        case GatewayError():
            if error.status in _REFUSALS and logger.isEnabledFor(logging.DEBUG):
                image_id = context.image_id or image_id_in_path(request)
                logger.debug("request refused: code=%s image=%s reason=%s", error.code, image_id, error)
            return _error(request, context, error, fallback)


def internal_error_response(
    request: web.BaseRequest, context: RequestContext, error: Exception, fallback: FallbackPicture | None
) -> web.StreamResponse:
    """Note an unexpected exception with its traceback, and return a 500 that says nothing about it."""
    context.fails_unexpectedly(error)
    return _error(request, context, GatewayError(), fallback)


def _error(
    request: web.BaseRequest, context: RequestContext, error: GatewayError, fallback: FallbackPicture | None
) -> web.StreamResponse:
    if request.writer.output_size > 0:
        if context.failure is not None:
            context.failure = context.failure._replace(is_fault=True)
        return _reset_connection(request, context, ABORTED)
    context.is_denial = not context.may_view and isinstance(error, (ImageNotFound, Unauthorized))
    if (
        fallback is not None
        and (context.route or route_name(request)) in _IMAGE_ROUTES
        and fallback.stands_in_for(error, request.method, request.headers)
    ):
        return fallback.response(error)
    return failure(error, context.request_id)


def _reset_connection(request: web.BaseRequest, context: RequestContext, outcome: str) -> web.StreamResponse:
    """Reset the connection, so that a client cannot mistake a part for the whole body.

    aiohttp requires a response from every handler. This response is never written.
    """
    context.outcome = outcome
    reset(request.transport)
    return web.Response()


def _gateway_error(error: web.HTTPException) -> GatewayError:
    match error:
        case web.HTTPMethodNotAllowed():
            return MethodNotAllowed(error.headers["Allow"])
        case web.HTTPNotFound():
            return RouteNotFound()
        case web.HTTPRequestEntityTooLarge():
            return PayloadTooLarge()
        case _:
            return InvalidRequest()


def route_name(request: web.BaseRequest) -> str:
    """Return the name of the matched route, which comes from a closed set, or ``unmatched``."""
    name = request.match_info.route.name if isinstance(request, web.Request) else None
    return name or UNMATCHED


def image_id_in_path(request: web.BaseRequest) -> str | None:
    """Return the image id in the path of the matched route, not yet validated, or None without one."""
    return request.match_info.get("image_id") if isinstance(request, web.Request) else None
