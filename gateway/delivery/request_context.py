"""Per-request context: request id, start time, metric labels."""

import os
import re
import time
import traceback
from contextvars import ContextVar
from typing import NamedTuple

from aiohttp import web

from gateway.access.caller import Caller
from gateway.access.request_head import RequestHead
from gateway.delivery.cors import add_vary, allow
from gateway.delivery.prepared_response import Prepared
from gateway.errors import GatewayError

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# The id of the request that the current task answers, "" outside of one. Log records carry it.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
_DENIALS = frozenset({401, 404})


class Failure(NamedTuple):
    """The reason why a request failed: the gateway's code and reason, and COS's answer; None where there is none.

    ``is_fault``: the gateway or a service that it uses failed, and not the client. ``exception`` is the traceback of an
    unexpected error, as text: the exception would refer to the request, and the request to it, a reference cycle.
    """

    code: str | None
    reason: str
    cos_code: str | None
    cos_request_id: str | None
    is_fault: bool
    exception: str | None = None


class RequestContext:
    """The facts of a client's request, from its arrival to its end, for log lines, metrics and response headers.

    started: in seconds of ``time.perf_counter``, as ``origin_started``, when COS is asked.
    route, image_id: set when the address is parsed.
    caller: set when the answer depends on the caller.
    may_view: the caller may see the image.
    first_byte: when the first byte was sent, in seconds since the start.
    outcome: the status, or what ended the request without a status. Empty until then.
    seconds, size, cache: set at the end: the duration, the bytes of the body, and the gateway's part of Cache-Status
    (RFC 9211): hit, or why not.
    ended_at, method, client: set at the end of a request that is logged; the end in seconds since 1970.
    trace_id: only if requests are traced.
    is_denial: the response must not reveal whether the image exists, so it has no duration.
    is_negotiated: the response depends on ``Accept``; ``content_location`` is then the address of the chosen format,
    once it is known.
    is_canary: the request is that of the canary, which is not counted among users.
    cors_origin: the result of ``CorsOrigins.of``.
    """

    def __init__(self, given_id: str | None) -> None:
        self.started = time.perf_counter()
        self.request_id = request_id_from(given_id)
        self.route: str | None = None
        self.image_id: str | None = None
        self.variant: str | None = None
        self.failure: Failure | None = None
        self.trace_id: str | None = None
        self.origin_started: float | None = None
        self.caller: Caller | None = None
        self.may_view = False
        self.delivery = "none"
        self.outcome = ""
        self.is_canary = False
        self.is_denial = False
        self.is_negotiated = False
        self.content_location: str | None = None
        self.cors_origin: str | None = None
        self.first_byte: float | None = None
        self.seconds = 0.0
        self.size = 0
        self.cache: str | None = None
        self.ended_at = 0.0
        self.method = ""
        self.client: str | None = None

    def fails(self, error: BaseException, *, is_fault: bool = False) -> None:
        """Note why the request fails. ``is_fault``: also if the error has no 5xx status."""
        code = cos_code = cos_request_id = None
        if isinstance(error, GatewayError):
            code, is_fault = error.code, is_fault or error.status >= 500
            cos_code, cos_request_id = error.cos_code, error.cos_request_id
        self.failure = Failure(code, str(error), cos_code, cos_request_id, is_fault)

    def fails_unexpectedly(self, error: Exception) -> None:
        """Note a defect of the gateway, with its traceback."""
        text = "".join(traceback.format_exception(error))
        self.failure = Failure(GatewayError.code, str(error), None, None, is_fault=True, exception=text)

    def origin_seconds(self) -> float | None:
        """Return the seconds from asking COS to the first byte, or to the end. None: COS was not asked."""
        if self.origin_started is None:
            return None
        end = self.seconds if self.first_byte is None else self.first_byte
        return max(0.0, self.started + end - self.origin_started)

    def stamp(self, response: web.StreamResponse | Prepared) -> None:
        """Add the fields that every response carries. Call it right before the first byte is sent."""
        self.first_byte = elapsed = time.perf_counter() - self.started
        timing = f"gateway;dur={elapsed * 1000:.1f}"
        if self.cors_origin is not None:
            allow(response, self.cors_origin)
        if isinstance(response, Prepared):  # it has header lines instead of a mapping
            response.own += f"Server: image-gateway\r\nX-Request-Id: {self.request_id}\r\nServer-Timing: {timing}\r\n"
            if self.is_negotiated:
                response.own += "Vary: Accept\r\n"
                if self.content_location is not None:
                    response.own += f"Content-Location: {self.content_location}\r\n"
            return
        response.headers["Server"] = "image-gateway"
        response.headers["X-Request-Id"] = self.request_id
        if self.is_negotiated:
            if "Accept" not in response.headers.get("Vary", "").split(", "):
                add_vary(response.headers, "Accept")
            if self.content_location is not None:
                response.headers["Content-Location"] = self.content_location
        if not self.is_denial and response.status not in _DENIALS:
            response.headers.add("Server-Timing", timing)


REQUEST_CONTEXT = web.RequestKey("request_context", RequestContext)
# The address of the client of the parent that passed the request on to this worker. Absent in other requests.
PEER = web.RequestKey("peer", str)


def request_id_from(header: str | None) -> str:
    """Return the id of the proxy in front if it is safe to log and to send back, else a new one."""
    if header is not None and _ACCEPTABLE_ID.fullmatch(header):
        return header
    return os.urandom(8).hex()


def peer_of(request: web.BaseRequest) -> str | None:
    """Return the other end of the socket: behind workers, the peer of their parent."""
    peer: str | None = request.get(PEER, request.remote)
    return peer


def head_of(request: web.BaseRequest) -> RequestHead:
    """Return the request as the policy sees it."""
    address = request.rel_url
    return RequestHead(request.method, address.raw_path, address.raw_query_string, request.headers, request.remote)
