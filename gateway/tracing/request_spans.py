"""Spans of requests to the public port, by the stable semantic conventions for HTTP servers.

Attributes are an allow-list, and each value comes from a closed set or has a checked syntax. They never contain a
query, a header field, a message of an exception or an address that is not a route.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.catalog.image_id import PATTERN
from gateway.tracing.hooks import Fact

# The methods of RFC 9110 and PATCH; any other is text of the client.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_OTHER_METHOD: Final = "_OTHER"  # the value of the conventions
_ID_IN_TEMPLATE: Final = "{image_id}"
_IMAGE_ID: Final = re.compile(PATTERN)
_CLIENT_LEFT: Final = 499  # the status in the metrics of the dispatch
# By the name in the access log.
_ATTRIBUTES: Final[Mapping[str, str]] = {
    "bytes": "http.response.body.size",
    "request_id": "image_gateway.request_id",
    "caller": "image_gateway.caller",
    "delivery": "image_gateway.delivery",
    "variant": "image_gateway.variant",
    "first_byte": "image_gateway.first_byte_seconds",
    "origin_seconds": "image_gateway.origin_seconds",
    "code": "image_gateway.error_code",
    "cos_code": "image_gateway.cos_code",
    "cos_request_id": "image_gateway.cos_request_id",
}


class OtelRequestSpans:
    """Starts a span for each request, as a child of the caller's span if ``traceparent`` names a span."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        # Not the propagators of the environment: baggage is arbitrary text of the client, and unused here.
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[None]:
        """Return the context in which a request is answered. The span of the request ends with the context."""
        known = method if method in _METHODS else _OTHER_METHOD
        span = self._tracer.start_span(
            known if known != _OTHER_METHOD else "HTTP",
            self._propagator.extract(headers),
            SpanKind.SERVER,
            attributes={"http.request.method": known},
            record_exception=False,
            set_status_on_exception=False,
        )
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield

    def trace_id(self) -> str | None:
        """Return the id of the current trace, 32 hexadecimal digits, or None without one."""
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else None

    def is_recorded(self) -> bool:
        """Return whether the current span is recorded. Otherwise a description is unnecessary."""
        return trace.get_current_span().is_recording()

    def describe(self, facts: Mapping[str, Fact], template: str | None, scheme: str) -> None:
        """Add the facts of the access log to the request's span. ``template`` is the address of its route."""
        span = trace.get_current_span()
        found: dict[str, str | int | float] = {"url.scheme": scheme}
        if template is not None:
            image_id, method = facts.get("image"), facts.get("method")
            found["http.route"] = found["url.path"] = template
            if isinstance(image_id, str) and _IMAGE_ID.fullmatch(image_id):
                found["url.path"] = template.replace(_ID_IN_TEMPLATE, image_id)
                found["image_gateway.image_id"] = image_id
            if method in _METHODS:
                span.update_name(f"{method} {template}")
        for name, attribute in _ATTRIBUTES.items():
            value = facts.get(name)
            if value is not None:
                found[attribute] = value
        cache, status = facts.get("cache"), facts.get("status")
        if isinstance(cache, str):  # hit or the reason of a miss, without the remaining seconds
            found["image_gateway.cache"] = cache.partition(";")[0]
        if isinstance(status, int) and status != _CLIENT_LEFT:
            found["http.response.status_code"] = status
        if status == _CLIENT_LEFT:
            found["error.type"] = "client_disconnected"
        elif not isinstance(status, int) or status >= 500:
            found["error.type"] = str(facts.get("code") or status)
            span.set_status(Status(StatusCode.ERROR))
        span.set_attributes(found)
