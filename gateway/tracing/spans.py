"""Spans of requests to the public port, and of the calls that a request makes: to COS, Redis and Postgres.

Names follow the stable semantic conventions. Attributes are an allow-list, and each value comes from a closed set or
has a checked syntax. They never contain a query, a header field, an object key, a value of Redis, a parameter of SQL, a
message of an exception or an address that is not a route.

Calls of background tasks (probes, renewals, maintenance) have no spans: each would be a separate trace.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from yarl import URL

from gateway.catalog.image_id import PATTERN

Attributes = Mapping[str, str | int]
Server = tuple[str | None, int | None]  # host and port, None if unknown
Fact = str | int | float | None

# The methods of RFC 9110 and PATCH; any other is text of the client.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
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


class Spans:
    """Starts the spans of requests and of calls. A call's span is a child of the current span.

    A request's span is a child of the caller's span if ``traceparent`` names one. ``redis`` and ``postgres`` are the
    servers' addresses.
    """

    def __init__(self, tracer: Tracer, *, redis: Server, postgres: Server) -> None:
        self._tracer = tracer
        # Not the propagators of the environment: baggage is arbitrary text of the client, and unused here.
        self._propagator = TraceContextTextMapPropagator()
        self._redis = _database("redis", redis)
        self._postgres = _database("postgresql", postgres)

    def request(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """Return the context in which a request is answered. The span of the request ends with the context."""
        name, known = (method, method) if method in _METHODS else ("HTTP", "_OTHER")  # the values of the conventions
        context, attributes = self._propagator.extract(headers), {"http.request.method": known}
        return self._tracer.start_as_current_span(
            name, context, SpanKind.SERVER, attributes, record_exception=False, set_status_on_exception=False
        )

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
                found["url.path"] = template.replace("{image_id}", image_id)
                found["image_gateway.image_id"] = image_id
            if method in _METHODS:
                span.update_name(f"{method} {template}")
        found |= {name: value for fact, name in _ATTRIBUTES.items() if (value := facts.get(fact)) is not None}
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

    @contextmanager
    def cos(self, method: str, url: URL) -> Iterator[Callable[[int, str | None], None]]:
        """Return the context of a request to COS, until the header of the answer has arrived.

        The span gets the status and COS's id of the request. Of ``url``, the span has only scheme and host: the path is
        the object key, and the query is the signature.
        """
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.full": f"{url.scheme}://{url.host_port_subcomponent}/REDACTED",  # the value of the conventions
            "server.address": url.host or "",
        }
        if url.port is not None:
            attributes["server.port"] = url.port
        with self._span(method, attributes) as span:

            def answered(status: int, request_id: str | None) -> None:
                span.set_attribute("http.response.status_code", status)
                if request_id is not None:
                    span.set_attribute("image_gateway.cos_request_id", request_id)
                if status >= 400:
                    span.set_attribute("error.type", str(status))
                    span.set_status(Status(StatusCode.ERROR))

            yield answered

    def redis(self, command: str, count: int) -> AbstractContextManager[Span]:
        """Return the context of a command, or of ``count`` commands that are sent at once."""
        attributes: dict[str, str | int] = {**self._redis, "db.operation.name": command}
        if count > 1:
            attributes["db.operation.batch.size"] = count
        return self._span(command, attributes)

    def postgres(self, operation: str, table: str) -> AbstractContextManager[Span]:
        """Return the context of a query, including the wait for a connection of the pool."""
        attributes = {**self._postgres, "db.operation.name": operation, "db.collection.name": table}
        return self._span(f"{operation} {table}", attributes)

    @contextmanager
    def _span(self, name: str, attributes: Attributes) -> Iterator[Span]:
        if not trace.get_current_span().get_span_context().is_valid:
            yield trace.INVALID_SPAN
            return
        span = self._tracer.start_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
        )
        try:
            yield span
        except BaseException as error:
            # Only the class: messages quote URLs, values and connection strings.
            code = getattr(error, "pgcode", None)
            if isinstance(code, str) and len(code) == 5 and code.isalnum():
                span.set_attribute("db.response.status_code", code)
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()


def _database(system: str, server: Server) -> Attributes:
    host, port = server
    known = {"server.address": host, "server.port": port}
    return {"db.system.name": system, **{name: value for name, value in known.items() if value is not None}}
