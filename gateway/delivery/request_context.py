"""One request's passage through the gateway: its id, its time, and how it is to be counted."""

import time

from aiohttp import web

from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.request_id import request_id_from

_DENIALS = frozenset({401, 404})


class RequestContext:
    """Begins when the request is taken.

    ``route`` and ``image_id`` are known once the address was understood, ``delivery`` once it is chosen, ``first_byte``
    (seconds) when it leaves. ``outcome`` is what to count where no status reached the client. ``is_denial``: the answer
    is about an image that may exist or not, so how long it took must not be told.
    """

    __slots__ = ("delivery", "first_byte", "image_id", "is_denial", "outcome", "request_id", "route", "started")

    def __init__(self, given_id: str | None) -> None:
        self.started = time.perf_counter()
        self.request_id = request_id_from(given_id)
        self.route: str | None = None
        self.image_id: str | None = None
        self.delivery = "none"
        self.outcome: str | None = None
        self.is_denial = False
        self.first_byte: float | None = None

    def elapsed(self) -> float:
        """Seconds since the request was taken."""
        return time.perf_counter() - self.started

    def stamp(self, response: web.StreamResponse) -> None:
        """Add what every answer carries: its first byte is about to leave."""
        self.first_byte = elapsed = time.perf_counter() - self.started
        timing = f"gateway;dur={elapsed * 1000:.1f}"
        if isinstance(response, PreparedResponse):  # which is not made of a mapping
            response.own += f"Server: image-gateway\r\nX-Request-Id: {self.request_id}\r\nServer-Timing: {timing}\r\n"
            return
        response.headers["Server"] = "image-gateway"
        response.headers["X-Request-Id"] = self.request_id
        if not self.is_denial and response.status not in _DENIALS:
            response.headers["Server-Timing"] = timing


REQUEST_CONTEXT = web.RequestKey("passage", RequestContext)
