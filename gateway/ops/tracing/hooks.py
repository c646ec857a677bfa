"""Where traces attach to the other rooms, which do not know OpenTelemetry.

This module imports none of the packages of the extra ``otel``: without tracing, nothing loads them.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

Fact = str | int | float | None

# Given the operation and the table, a context in which Postgres is asked.
PostgresCall = Callable[[str, str], AbstractContextManager[None]]
# Given the command and the number of commands that are sent at once, a context in which Redis is asked.
RedisCall = Callable[[str, int], AbstractContextManager[None]]
# Given the method and the URL, a context in which COS is asked; it takes the status and COS's id of the request.
CosCall = Callable[[str, URL], AbstractContextManager[Callable[[int, str | None], None]]]


class UnusableTracing(ValueError):
    """Traces cannot be sent as the variables of OpenTelemetry say; the message names the variable."""


class RequestSpans(Protocol):
    """The spans of requests to the public port."""

    def request(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Return the context in which a request is answered."""

    def trace_id(self) -> str | None:
        """Return the id of the current trace, 32 hexadecimal digits; None without one."""

    def is_recorded(self) -> bool:
        """Return whether the current span is recorded, so that describing it is of use."""

    def describe(self, facts: Mapping[str, Fact], template: str | None, scheme: str) -> None:
        """Add what the access log says of the request to its span; ``template`` is the address of its route."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """What each room is given."""

    requests: RequestSpans
    cos: CosCall
    redis: RedisCall
    postgres: PostgresCall
