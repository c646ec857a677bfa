"""Spans of the calls that a request makes: to COS, Redis and Postgres.

Calls of background tasks (probes, renewals, maintenance) have no spans: each would be a separate trace. The attributes
are an allow-list without queries of URLs, values of Redis, parameters of SQL and messages of exceptions.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from yarl import URL

Attributes = Mapping[str, str | int]
Server = tuple[str | None, int | None]  # host and port, None if unknown

_LEAST_ERROR: Final = 400  # of the statuses that are errors for a client
_SQLSTATE_LENGTH: Final = 5
_REDACTED: Final = "REDACTED"  # the value of the conventions


class OtelCallSpans:
    """Starts spans of calls below the current span. ``redis`` and ``postgres`` are the servers' addresses."""

    def __init__(self, tracer: Tracer, *, redis: Server, postgres: Server) -> None:
        self._tracer = tracer
        self._redis = _database("redis", redis)
        self._postgres = _database("postgresql", postgres)

    @contextmanager
    def cos(self, method: str, url: URL) -> Iterator[Callable[[int, str | None], None]]:
        """Return the context of a request to COS, until the header of the answer has arrived.

        The span gets the status and COS's id of the request. Of ``url``, the span has only scheme and host: the path is
        the object key, and the query is the signature.
        """
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.full": f"{url.scheme}://{url.host_port_subcomponent}/{_REDACTED}",
            "server.address": url.host or "",
        }
        if url.port is not None:
            attributes["server.port"] = url.port
        with self._span(method, attributes) as span:

            def answered(status: int, request_id: str | None) -> None:
                span.set_attribute("http.response.status_code", status)
                if request_id is not None:
                    span.set_attribute("image_gateway.cos_request_id", request_id)
                if status >= _LEAST_ERROR:
                    span.set_attribute("error.type", str(status))
                    span.set_status(Status(StatusCode.ERROR))

            yield answered

    @contextmanager
    def redis(self, command: str, count: int) -> Iterator[None]:
        """Return the context of a command, or of ``count`` commands that are sent at once."""
        attributes: dict[str, str | int] = {**self._redis, "db.operation.name": command}
        if count > 1:
            attributes["db.operation.batch.size"] = count
        with self._span(command, attributes):
            yield

    @contextmanager
    def postgres(self, operation: str, table: str) -> Iterator[None]:
        """Return the context of a query, including the wait for a connection of the pool."""
        attributes = {**self._postgres, "db.operation.name": operation, "db.collection.name": table}
        with self._span(f"{operation} {table}", attributes):
            yield

    @contextmanager
    def _span(self, name: str, attributes: Attributes) -> Iterator[Span]:
        if not trace.get_current_span().get_span_context().is_valid:
            yield trace.INVALID_SPAN
            return
        span = self._tracer.start_span(
            name,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        try:
            yield span
        except BaseException as error:
            # Only the class: messages quote URLs, values and connection strings.
            code = getattr(error, "pgcode", None)
            if isinstance(code, str) and len(code) == _SQLSTATE_LENGTH and code.isalnum():
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
