"""The facts of a finished request for its line in the access log."""

from typing import Final

from aiohttp import hdrs, web

from gateway.api.access_log import Value, shortened
from gateway.api.caller import CALLER
from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.request_context import Failure, RequestContext
from gateway.server.route_match import image_id_in_path

_LONGEST_TRACEBACK: Final = 20_000  # characters


def access_facts(
    request: web.BaseRequest,
    context: RequestContext,
    response: web.StreamResponse | None,
    route: str,
    outcome: str,
    elapsed: float,
    client: str | None,
) -> dict[str, Value]:
    """Return the facts. ``response`` is None if the handler was cancelled. No fact holds a query or a credential."""
    failure = context.failure
    caller = request.get(CALLER)
    origin_seconds = context.origin_seconds()
    first_byte = context.first_byte
    facts: dict[str, Value] = {
        "request_id": context.request_id,
        "trace_id": context.trace_id,
        "method": request.method,
        "route": route,
        # With a route, the dispatch has parsed the address itself; the router may not have seen the request.
        "image": context.image_id if context.route is not None else image_id_in_path(request),
        "client": client,
        "caller": caller.kind if caller is not None else None,
        "delivery": context.delivery,
        "variant": context.variant,
        "status": int(outcome) if outcome.isdigit() else outcome,
        "bytes": _bytes_of(request, response, outcome),
        "seconds": round(elapsed, 6),
        "first_byte": round(first_byte, 6) if first_byte is not None else None,
        "cache": _cache_status(response),
        "origin_seconds": round(origin_seconds, 6) if origin_seconds is not None else None,
    }
    if failure is not None:
        facts.update(_facts_of(failure))
    return facts


def _facts_of(failure: Failure) -> dict[str, Value]:
    return {
        "code": failure.code,
        "cos_code": failure.cos_code,
        "cos_request_id": failure.cos_request_id,
        "reason": shortened(failure.reason),
        "exception": shortened(failure.exception, _LONGEST_TRACEBACK),
    }


def _bytes_of(request: web.BaseRequest, response: web.StreamResponse | None, outcome: str) -> int:
    """Return the bytes of the body. If the transfer broke off, the bytes of the header are included."""
    if response is None or not outcome.isdigit() or outcome == "499":
        return request.writer.output_size
    if request.method == hdrs.METH_HEAD:
        return 0
    if isinstance(response, PreparedResponse):
        return response.body_length
    # A chunked body has no length; aiohttp's count of written bytes includes the header.
    return response.content_length if response.content_length is not None else request.writer.output_size


def _cache_status(response: web.StreamResponse | None) -> str | None:
    """Return the gateway's part of Cache-Status (RFC 9211): hit, or why not."""
    if response is None:
        return None
    if isinstance(response, PreparedResponse):
        name, _, rest = response.own.partition(": ")
        status = rest.partition("\r\n")[0] if name == "Cache-Status" else None
    else:
        status = response.headers.get("Cache-Status")
    return status.removeprefix("image-gateway; ") if status is not None else None
