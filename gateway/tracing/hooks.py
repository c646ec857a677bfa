"""The interfaces by which traces attach to the other packages, which do not import OpenTelemetry.

This module does not import the extra ``otel``: without tracing, its packages are not loaded.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

Fact = str | int | float | None

# Returns the context of a query, given its operation and its table.
PostgresCall = Callable[[str, str], AbstractContextManager[None]]
# Returns the context of commands to Redis, given the command and the number of commands that are sent at once.
RedisCall = Callable[[str, int], AbstractContextManager[None]]
# Returns the context of a request to COS, given its method and URL; the context gets the status and COS's request id.
CosCall = Callable[[str, URL], AbstractContextManager[Callable[[int, str | None], None]]]


class UnusableTracing(ValueError):
    """Traces cannot be sent as the variables of OpenTelemetry say. The message names the variable."""


class RequestSpans(Protocol):
    """The spans of requests to the public port."""

    def request(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Return the context in which a request is answered."""

    def trace_id(self) -> str | None:
        """Return the id of the current trace, 32 hexadecimal digits, or None without one."""

    def is_recorded(self) -> bool:
        """Return whether the current span is recorded. Otherwise a description is unnecessary."""

    def describe(self, facts: Mapping[str, Fact], template: str | None, scheme: str) -> None:
        """Add the facts of the access log to the request's span. ``template`` is the address of its route."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """The observers for the other packages."""

    requests: RequestSpans
    cos: CosCall
    redis: RedisCall
    postgres: PostgresCall
