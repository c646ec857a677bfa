"""What happens around every request: its id, its measurements, and the one place where errors become answers."""

import logging
import time

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.answers import failure
from gateway.api.keys import DAILY_STATS, IN_FLIGHT, METRICS
from gateway.delivery.relay import ClientLeft, RelayAborted
from gateway.errors import GatewayError, InvalidRequest, MethodNotAllowed, PayloadTooLarge, RouteNotFound
from gateway.ops.request_id import current_request_id, request_id_from

logger = logging.getLogger(__name__)

REQUEST_ID = web.RequestKey("request_id", str)
STARTED = web.RequestKey("started", float)
DELIVERY = web.RequestKey("delivery", str)
OUTCOME = web.RequestKey("outcome", str)
STATUS_SENT = web.RequestKey("status_sent", bool)

# What is counted where no status reached the client; nginx's word for the first.
CLIENT_LEFT = "499"
ABORTED = "aborted"
_NO_IMAGE = frozenset({"400", "404", "405"})


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, and count and time what becomes of it."""
    metrics = request.app[METRICS]
    request[STARTED] = started = time.perf_counter()
    request[REQUEST_ID] = request_id = request_id_from(request.headers.get("X-Request-Id"))
    current_request_id.set(request_id)  # for this request's task alone
    route = route_of(request)
    outcome = CLIENT_LEFT  # what remains when the handler is cancelled
    in_flight = request.app[IN_FLIGHT]
    number = in_flight.began()
    try:
        response = await handler(request)
        outcome = request.get(OUTCOME) or str(response.status)
        return response
    finally:
        in_flight.ended(number)
        elapsed = time.perf_counter() - started
        _count_image(request, outcome, elapsed)
        metrics.requests.answered(route, request.get(DELIVERY, "none"), outcome, elapsed)
        logger.debug("request: method=%s route=%s status=%s seconds=%.4f", request.method, route, outcome, elapsed)


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into an answer; after the status is sent there is none, and the connection is cut."""
    try:
        return await handler(request)
    except ClientLeft as error:
        logger.debug("client left: %s", error)
        return _cut(request, CLIENT_LEFT)
    except RelayAborted as error:
        logger.warning("transfer cut: %s", error)
        return _cut(request, ABORTED)
    except web.HTTPException as error:
        return _answer(request, _translated(error))
    except web.RequestPayloadError:
        return _answer(request, InvalidRequest("the body cannot be read"))
    except GatewayError as error:
        if error.status >= 500:
            logger.warning("request failed: code=%s reason=%s", error.code, error)
        return _answer(request, error)
    except Exception:  # whatever it is, the client gets an answer of one shape, and the log the traceback
        logger.exception("request failed unexpectedly")
        return _answer(request, GatewayError())


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer carries, and note the time of the first byte; a signal handler of the application."""
    headers = response.headers
    headers["Server"] = "image-gateway"
    request[STATUS_SENT] = True
    if REQUEST_ID not in request:  # aiohttp answers malformed requests by itself
        return
    elapsed = time.perf_counter() - request[STARTED]
    headers["X-Request-Id"] = request[REQUEST_ID]
    headers["Server-Timing"] = f"gateway;dur={elapsed * 1000:.1f}"
    request.app[METRICS].requests.began(route_of(request), elapsed)


def route_of(request: web.Request) -> str:
    """The name of the route, from a closed set; ``unmatched`` when there is none."""
    return request.match_info.route.name or "unmatched"


def _answer(request: web.Request, error: GatewayError) -> web.StreamResponse:
    """The error in words. Where a status was sent before it, they would be read as bytes of the body: cut instead."""
    if request.get(STATUS_SENT, False):
        logger.warning("transfer cut: code=%s reason=%s", error.code, error)
        return _cut(request, ABORTED)
    return failure(error, request[REQUEST_ID])


def _count_image(request: web.Request, outcome: str, seconds: float) -> None:
    """Into the statistics of the day; an id that names no image is not counted as one."""
    stats, image_id = request.app.get(DAILY_STATS), request.match_info.get("image_id")
    if stats is not None and image_id is not None and outcome not in _NO_IMAGE:
        stats.request(image_id, seconds * 1000, is_error=outcome.startswith("5") or outcome == ABORTED)


def _cut(request: web.Request, outcome: str) -> web.StreamResponse:
    """Close the connection so that nobody takes what was sent for the whole; the answer returned is never written."""
    request[OUTCOME] = outcome
    if request.transport is not None:
        request.transport.abort()
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
