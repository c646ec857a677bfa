"""The facts of a finished request for its line in the access log."""

import time

from aiohttp import hdrs, web

from gateway.api.caller import CALLER
from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.request_context import RequestContext
from gateway.server.request_log import RequestFacts
from gateway.server.route_match import UNMATCHED, image_id_in_path


def access_facts(
    request: web.BaseRequest,
    context: RequestContext,
    response: web.StreamResponse | None,
    route: str,
    outcome: str,
    elapsed: float,
    client: str | None,
) -> RequestFacts:
    """Return the facts. ``response`` is None if the handler was cancelled."""
    caller = request._state.get(CALLER)  # noqa: SLF001 - request.get() raises and catches an error without a caller
    if isinstance(response, PreparedResponse):
        size, cache = response.body_length, response.cache_status
    else:
        size, cache = _bytes_of(request, response, outcome), _cache_status(response)
    return RequestFacts(
        time.time(),
        context.request_id,
        context.trace_id,
        request.method,
        route,
        # With a route, the dispatch has parsed the address itself; the router may not have seen the request.
        context.image_id if context.route is not None else image_id_in_path(request),
        client,
        caller.kind if caller is not None else None,
        context.delivery,
        context.variant,
        outcome,
        size,
        elapsed,
        context.first_byte,
        cache,
        context.origin_seconds() if context.origin_started is not None else None,
        context.failure,
    )


def facts_at_once(
    context: RequestContext, response: PreparedResponse, status: str, elapsed: float, client: str | None
) -> RequestFacts:
    """Return the facts of a GET that was answered from memory at once, for everybody."""
    return RequestFacts(
        time.time(),
        context.request_id,
        None,
        hdrs.METH_GET,
        context.route or UNMATCHED,
        context.image_id,
        client,
        None,
        context.delivery,
        context.variant,
        status,
        response.body_length,
        elapsed,
        context.first_byte,
        response.cache_status,
        None,
        None,
    )


def _bytes_of(request: web.BaseRequest, response: web.StreamResponse | None, outcome: str) -> int:
    """Return the bytes of the body. If the transfer broke off, the bytes of the header are included."""
    if response is None or not outcome.isdigit() or outcome == "499":
        return request.writer.output_size
    if request.method == hdrs.METH_HEAD:
        return 0
    # A chunked body has no length; aiohttp's count of written bytes includes the header.
    return response.content_length if response.content_length is not None else request.writer.output_size


def _cache_status(response: web.StreamResponse | None) -> str | None:
    """Return the gateway's part of Cache-Status (RFC 9211): hit, or why not."""
    status = response.headers.get("Cache-Status") if response is not None else None
    return status.removeprefix("image-gateway; ") if status is not None else None
