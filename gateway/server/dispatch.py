"""What happens around every request: its id, its measurements, and the one place where errors become answers.

It stands before aiohttp's application, and takes requests for images to their handler itself: the router, the
middlewares and the signals together cost a third of the time that an answer from memory takes.
"""

import logging
import re
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from multidict import istr

from gateway.api.app_keys import CLIENT_ADDRESS, IMAGE_HANDLER, IN_FLIGHT, METRICS, ROUTE_PREFIX
from gateway.api.denial_delay import DenialDelay
from gateway.api.json_responses import failure
from gateway.catalog.image_id import PATTERN
from gateway.delivery.headers import CORS
from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.relay import ClientLeft, RelayAborted
from gateway.delivery.request_context import REQUEST_CONTEXT, RequestContext, current_request_id
from gateway.errors import (
    GatewayError,
    ImageNotFound,
    InvalidRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    RouteNotFound,
    Unauthorized,
)
from gateway.metrics.image_requests import ABORTED
from gateway.server.connection_reset import reset

logger = logging.getLogger(__name__)

# Counted in place of a status when the client disconnected before its answer (nginx uses the same number).
CLIENT_LEFT = "499"
_REQUEST_ID = istr("X-Request-Id")
# Any other version would be answered in kind, though nobody here speaks it. Not 505: no request makes a 5xx.
_SPOKEN = (HttpVersion11, HttpVersion10)
_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
# The addresses of images as nearly everybody writes them; any other spelling goes through the router.
_IMAGE = re.compile(rf"/i/(?P<short>{PATTERN})|/api/v1/images/(?P<proxy>{PATTERN})/proxy")

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def install_dispatch(runner: web.AppRunner) -> None:
    """Let a ``Dispatch`` take the requests of a runner that was set up."""
    assert runner.server is not None, "not set up"  # noqa: S101
    runner.server.request_handler = Dispatch(runner.app, runner.server.request_handler)


class Dispatch:
    """Takes every request of an application whose parts are open; ``handler`` is the application's own."""

    def __init__(self, app: web.Application, handler: _Handler) -> None:
        self._handler = handler
        self._requests = app[METRICS].requests
        self._in_flight = app[IN_FLIGHT]
        self._image_handler = app.get(IMAGE_HANDLER)
        self._client_address = app[CLIENT_ADDRESS]
        self._denial_delay = DenialDelay()
        # Pages of other sites may read what the public port says; what the admin port says is no business of theirs.
        self._for_pages = CORS if self._image_handler is not None else {}
        self._route_prefix = app.get(ROUTE_PREFIX, "")

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Give the request an id, have it answered, and count and time what becomes of it."""
        context = RequestContext(request.headers.get(_REQUEST_ID))
        current_request_id.set(context.request_id)  # for this request's task alone
        in_flight = self._in_flight
        in_flight.started = number = in_flight.started + 1
        in_flight.transports[number] = request.transport
        outcome = CLIENT_LEFT  # what remains when the handler is cancelled
        try:
            try:
                response = await self._handle(request, context)
            except (GatewayError, ClientLeft, RelayAborted, web.HTTPException, web.RequestPayloadError) as error:
                response = _told(request, context, error)
            except Exception:  # whatever it is, the client gets an answer of one shape, and the log the traceback
                logger.exception("request failed unexpectedly")
                response = _rendered(request, context, GatewayError())
            if not response.prepared:
                if context.is_denial:
                    await self._denial_delay.hold(context.started)
                context.stamp(response)
                if not isinstance(response, PreparedResponse):
                    response.headers.update(self._for_pages)
            outcome = context.outcome or str(response.status)
            return response
        finally:
            del in_flight.transports[number]
            self._count(request, context, outcome)

    def _handle(self, request: web.BaseRequest, context: RequestContext) -> Awaitable[web.StreamResponse]:
        if request.version not in _SPOKEN:
            return _refuse_version(request, context)
        if self._image_handler is not None and request.method in _READING and hdrs.EXPECT not in request.headers:
            address = _IMAGE.fullmatch(request.rel_url.raw_path)
            if address is not None:
                context.route = address.lastgroup
                context.image_id = image_id = address[address.lastindex or 0]
                return self._image_handler.answer(request, image_id, context)
        request[REQUEST_CONTEXT] = context
        return self._handler(request)

    def _count(self, request: web.BaseRequest, context: RequestContext, outcome: str) -> None:
        """Count and time the request."""
        elapsed = context.elapsed()
        route = context.route or self._route_prefix + _route_of(request)
        self._requests.answered(route, context.delivery, outcome, elapsed, context.first_byte)
        if logger.isEnabledFor(logging.DEBUG):
            client = self._client_address.of(request.headers, request.remote)
            logger.debug(
                "request: method=%s route=%s status=%s seconds=%.4f client=%s",
                request.method,
                route,
                outcome,
                elapsed,
                client,
            )


async def _refuse_version(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
    """400 in HTTP/1.1 (RFC 9112 section 2.3), and the end of the connection."""
    context.route = "unmatched"  # the router has not seen it
    request._cache["version"] = HttpVersion11  # noqa: SLF001 - for the status line; it is read once
    response = failure(InvalidRequest("the version must be HTTP/1.1 or HTTP/1.0"), context.request_id)
    response.force_close()
    return response


def _route_of(request: web.BaseRequest) -> str:
    """The name of the route that the router found, from a closed set; ``unmatched`` when there is none."""
    found = request.match_info.route.name if isinstance(request, web.Request) else None
    return found or "unmatched"


def _image_id_in(request: web.BaseRequest) -> str | None:
    return request.match_info.get("image_id") if isinstance(request, web.Request) else None


_Foreseen = GatewayError | ClientLeft | RelayAborted | web.HTTPException | web.RequestPayloadError


def _told(request: web.BaseRequest, context: RequestContext, error: _Foreseen) -> web.StreamResponse:
    """The answer that an error becomes; after the status is sent there is none, and the connection is cut."""
    match error:
        case ClientLeft():
            logger.debug("client left: %s", error)
            return _cut(request, context, CLIENT_LEFT)
        case RelayAborted():
            logger.warning("transfer cut: %s", error)
            return _cut(request, context, ABORTED)
        case web.HTTPException():
            return _rendered(request, context, _translated(error))
        case web.RequestPayloadError():
            return _rendered(request, context, InvalidRequest("the body cannot be read"))
        case GatewayError():
            if error.status >= 500 and error.logs_each_request:
                image_id = context.image_id or _image_id_in(request)
                logger.warning("request failed: code=%s image=%s reason=%s", error.code, image_id, error)
            return _rendered(request, context, error)


def _rendered(request: web.BaseRequest, context: RequestContext, error: GatewayError) -> web.StreamResponse:
    """The error in words. Where a status was sent before it, they would be read as bytes of the body: cut instead."""
    if request.writer.output_size > 0:
        logger.warning("transfer cut: code=%s reason=%s", error.code, error)
        return _cut(request, context, ABORTED)
    # Once a delivery is chosen, the caller was let in.
    context.is_denial = context.delivery == "none" and isinstance(error, (ImageNotFound, Unauthorized))
    return failure(error, context.request_id)


def _cut(request: web.BaseRequest, context: RequestContext, outcome: str) -> web.StreamResponse:
    """Close the connection so that nobody takes what was sent for the whole; the answer returned is never written."""
    context.outcome = outcome
    reset(request.transport)
    return web.Response()


def _translated(error: web.HTTPException) -> GatewayError:
    match error:
        case web.HTTPMethodNotAllowed():
            return MethodNotAllowed(error.headers["Allow"])
        case web.HTTPNotFound():
            return RouteNotFound()
        case web.HTTPRequestEntityTooLarge():
            return PayloadTooLarge()
        case _:
            return InvalidRequest()
