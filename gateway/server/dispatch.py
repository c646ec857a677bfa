"""Request dispatch: the request id, the request in flight, its response or error response, its metrics.

``Dispatch`` replaces aiohttp's request handler and passes requests for images and for their URLs to their handlers
itself: the router, the middlewares and the signals of an application together cost a third of the time that a response
from memory takes. ``Dispatch.at_once`` answers requests that need nothing but memory, without a request object.
"""

import re
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import istr
from prometheus_client import Gauge

from gateway.access.canary_mark import PREFIX, CanaryMark
from gateway.access.client_address import ClientAddress
from gateway.access.identity import Authenticator
from gateway.access.request_head import RequestHead
from gateway.api.image_handler import Exchange, ImageHandler
from gateway.api.urls import UrlHandler
from gateway.catalog.image_id import PATTERN
from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.cors import CorsOrigins, add_vary
from gateway.delivery.fallback_picture import FallbackPicture
from gateway.delivery.headers import CACHE, CORS
from gateway.delivery.nginx_files import NginxFiles
from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.request_context import REQUEST_CONTEXT, RequestContext, current_request_id, head_of
from gateway.errors import GatewayError, InvalidRequest, UnknownTransferCoding
from gateway.server.connection import Connection
from gateway.server.denial_delay import DenialDelay
from gateway.server.error_responses import CLIENT_DISCONNECTED, UNMATCHED, error_response, image_id_in_path, route_name
from gateway.server.metrics import ServerMetrics
from gateway.server.request_log import RequestLog, facts_of

if TYPE_CHECKING:  # a gateway without tracing loads nothing of it
    from gateway.tracing.spans import Spans

_REQUEST_ID = istr("X-Request-Id")
# aiohttp would answer any other version in kind, which no client speaks. Not 505: alerts count each 5xx but 501.
_SUPPORTED_VERSIONS = (HttpVersion11, HttpVersion10)
_PROBES = frozenset({"/healthz", "/readyz"})  # requested every few seconds: they get no spans
_READ_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
# Addresses in their usual spelling; the router handles any other (percent-encoded characters).
_ADDRESS = re.compile(
    rf"/i/(?P<short>{PATTERN})|/api/v1/images/(?P<proxy>{PATTERN})/proxy|/api/v1/images/(?P<url>{PATTERN})/url"
)
# No request for a decision is a 400. Its handler ignores every expectation.
_ACCESS = re.compile(r"/api/v1/images/(?s:.*)/access")
CANARY = "canary:"  # starts the names of the routes of the canary's requests in metrics


class InFlight:
    """Clients' requests in flight on a port, numbered in the order in which they started.

    ``started``: the number of the newest request.
    ``requests``: those in flight, by number.
    ``closes_connections``: each response that starts now announces the end of its connection: the gateway stops.

    The dispatch updates the first two for each request, so they are plain attributes.
    """

    def __init__(self, gauge: Gauge) -> None:
        self.started = 0
        self.closes_connections = False
        self.requests: dict[int, web.BaseRequest] = {}
        gauge.set_function(lambda: len(self.requests))


@dataclass(frozen=True, slots=True)
class DirectHandlers:
    """The public port's handlers that ``Dispatch`` calls without aiohttp's router, and the services of its responses.

    fallback: the picture of error responses. None: error responses are JSON.
    """

    images: ImageHandler
    urls: UrlHandler
    nginx_files: NginxFiles
    cors_origins: CorsOrigins
    authenticator: Authenticator
    fallback: FallbackPicture | None


@dataclass(frozen=True, slots=True)
class Accounting:
    """The metrics and the log in which ``Dispatch`` records the requests of a port.

    ``route_prefix`` starts the names of the port's routes in metrics. With a prefix, only faults get a log line.
    ``canary`` recognizes requests of the canary. None without a canary. ``spans`` starts a span for each request. None
    without tracing.
    """

    metrics: ServerMetrics
    client_address: ClientAddress
    request_log: RequestLog
    route_prefix: str = ""
    canary: CanaryMark | None = None
    spans: "Spans | None" = None


class Dispatch:
    """Handles every request of a port: id, handler, error response, metrics. ``direct`` is None on the admin port."""

    def __init__(
        self,
        in_flight: InFlight,
        accounting: Accounting,
        direct: DirectHandlers | None = None,
        denial_delay: DenialDelay | None = None,
    ) -> None:
        self._requests = accounting.metrics.requests
        self._recent_errors = accounting.metrics.recent_errors
        self._in_flight = in_flight
        self._direct = direct
        self._fallback = direct.fallback if direct is not None else None
        self._client_address = accounting.client_address
        self._denial_delay = denial_delay or DenialDelay()
        self._request_log = accounting.request_log
        # Pages of other sites may read responses of the public port, but none of the admin port.
        self._cors = CORS if direct is not None else {}
        self._route_prefix = accounting.route_prefix
        self._canary = accounting.canary
        self._spans = accounting.spans
        self._templates: Mapping[str, str] = {}  # of addresses, by the names of routes

    def take_over(self, server: web.Server, app: web.Application) -> None:
        """Handle all requests of ``server``, whose ``app`` gets those for other addresses than ``direct`` has."""
        self._app_handler, server.request_handler = server.request_handler, self
        if self._spans is not None:
            server.request_handler = partial(self._traced, self._spans)
            self._templates = {each.name: each.canonical for each in app.router.resources() if each.name}

    async def _traced(self, spans: "Spans", request: web.BaseRequest) -> web.StreamResponse:
        if request.rel_url.raw_path in _PROBES:
            return await self(request)
        with spans.request(request.method, request.headers):
            return await self(request)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Give the request an id, handle it, map errors to responses, stamp the response, and count the outcome."""
        begun = _begun(request)
        context = begun.context if begun is not None else self._context(request.headers)
        direct = self._direct
        current_request_id.set(context.request_id)  # aiohttp runs each request in its own task
        in_flight = self._in_flight
        in_flight.started = number = in_flight.started + 1
        in_flight.requests[number] = request
        if in_flight.closes_connections or (request._message.upgrade and _has_lost_bytes(request)):  # noqa: SLF001
            _close_after_response(request)
        response: web.StreamResponse | None = None
        try:
            try:
                response = await self._handle(request, context, begun)
            except Exception as error:  # noqa: BLE001 - noted there; the client gets an error of the usual shape
                response = error_response(request, context, error, self._fallback)
                failure = context.failure
                is_of_a_user = not self._route_prefix and not context.is_canary  # the console shows no other errors
                if failure is not None and failure.code is not None and is_of_a_user:
                    self._recent_errors.record(failure.code, context.image_id, context.request_id)
            if not response.prepared:
                if context.is_denial:
                    await self._denial_delay.hold(context.started)
                    if direct is not None:
                        add_vary(response.headers, direct.authenticator.denials_vary)
                if isinstance(response, PreparedResponse):
                    context.stamp(response.whole)
                else:
                    response.headers.update(self._cors)
                    context.stamp(response)
            context.outcome = context.outcome or str(response.status)
            return response
        finally:
            del in_flight.requests[number]
            if context.route is None:  # the router has parsed the address
                context.image_id = image_id_in_path(request)
            context.outcome = context.outcome or CLIENT_DISCONNECTED  # if the handler was cancelled
            context.size, context.cache = _body_of(request, response, context.outcome)
            context.route = context.route or self._route_prefix + route_name(request)
            self._count(request, context, request.remote)

    def at_once(self, message: RawRequestMessage, peer: str | None) -> bytes | Exchange | None:
        """Return the response to a request for an image that needs nothing but memory, and count it.

        The response is that of a call, which takes a request object, its writer, a task, and two more steps of the
        event loop. Else return the decision to which a call shall come, or None.

        message: it has no body, and its connection takes another request.
        """
        direct, headers, method = self._direct, message.headers, message.method
        path, _, query = message.path.partition("?")
        if (
            direct is None
            or self._spans is not None
            or method not in _READ_METHODS
            or message.version != HttpVersion11
            or self._in_flight.closes_connections
            or (address := _ADDRESS.fullmatch(path)) is None
            or (route := address.lastgroup) is None
            or route == "url"
            or "#" in query
            or hdrs.EXPECT in headers
            or headers.get(CONFIG_VERSION) not in direct.nginx_files.accepted
        ):
            return None
        context = self._context(headers)
        context.route, context.image_id = route, address[address.lastindex or 0]
        token = current_request_id.set(context.request_id)
        try:
            exchange = direct.images.begin(RequestHead(method, path, query, headers, peer), context.image_id, context)
            answer = direct.images.at_once(exchange)
            if answer is None:
                return exchange
            self._in_flight.started += 1
            context.stamp(answer)
            context.outcome, context.size, context.cache = str(answer.status), len(answer.body), answer.cache
            self._count(message, context, peer)
            return answer.whole()
        except Exception:  # noqa: BLE001 - a call fails, too, and answers with the error
            return None
        finally:
            current_request_id.reset(token)

    def _context(self, headers: Mapping[str, str]) -> RequestContext:
        given_id = headers.get(_REQUEST_ID)
        context = RequestContext(given_id)
        if self._direct is not None:
            context.cors_origin = self._direct.cors_origins.of(headers)
        if given_id is not None and self._canary is not None and context.request_id.startswith(PREFIX):
            shown = self._canary.shown(context.request_id)
            if shown is not None:
                context.is_canary, context.request_id = True, shown
        return context

    def _handle(
        self, request: web.BaseRequest, context: RequestContext, begun: Exchange | None
    ) -> Awaitable[web.StreamResponse]:
        if begun is not None and self._direct is not None:
            return self._direct.images.answer(request, begun)
        direct, expectation = self._direct, request.headers.get(hdrs.EXPECT)
        is_read = direct is not None and request.method in _READ_METHODS
        error = _error_of(request)
        if (
            error is None
            and expectation is not None
            and expectation.lower() != "100-continue"
            and request.version == HttpVersion11
            and not (is_read and _ACCESS.fullmatch(request.path))
        ):  # the text of aiohttp's own error has the bytes of the field
            error = InvalidRequest("the only expectation is 100-continue")
        if error is not None:
            context.route = UNMATCHED  # the router has not seen the request
            _close_after_response(request)
            raise error
        if direct is not None and is_read and expectation is None:
            address = _ADDRESS.fullmatch(request.rel_url.raw_path)
            if address is not None and (address.lastgroup != "url" or request.method == hdrs.METH_GET):
                context.route = address.lastgroup
                context.image_id = image_id = address[address.lastindex or 0]
                request[REQUEST_CONTEXT] = context
                if context.route == "url":
                    return direct.urls.answer(request, image_id)
                if (sent := request.headers.get(CONFIG_VERSION)) not in direct.nginx_files.accepted:
                    direct.nginx_files.report(sent)
                return direct.images.answer(request, direct.images.begin(head_of(request), image_id, context))
        request[REQUEST_CONTEXT] = context
        return self._app_handler(request)

    def _count(self, request: RawRequestMessage | web.BaseRequest, context: RequestContext, peer: str | None) -> None:
        """Count and time the request, which has ended, and log it in the access log.

        On the admin port, and of the canary, only faults are logged.
        """
        route, outcome = context.route or UNMATCHED, context.outcome
        if context.is_canary:
            context.route = route = f"{CANARY}{route}"
        if (spans := self._spans) is not None:
            context.trace_id = spans.trace_id()
        context.seconds = time.perf_counter() - context.started
        self._requests.record(route, context.delivery, outcome, context.seconds, context.first_byte)
        request_log, failure = self._request_log, context.failure
        is_of_a_user = not self._route_prefix and not context.is_canary
        if (is_of_a_user and request_log.is_on.value and request_log.wants(route, outcome)) or (
            failure is not None and failure.is_fault
        ):
            context.ended_at, context.method = time.time(), request.method
            context.client = self._client_address.of(request.headers, peer)
            request_log.add(context)
        if spans is not None and spans.is_recorded() and isinstance(request, web.BaseRequest):
            context.method, template = request.method, self._templates.get(route.removeprefix(CANARY))
            spans.describe(facts_of(context), template, request.scheme)


def _begun(request: web.BaseRequest) -> Exchange | None:
    """Return the request with the decision to which ``at_once`` has come."""
    connection = request.protocol
    return connection.begun_by(request._message) if isinstance(connection, Connection) else None  # noqa: SLF001


def _has_lost_bytes(request: web.BaseRequest) -> bool:
    connection = request.protocol
    return isinstance(connection, Connection) and connection.has_lost_bytes


def _close_after_response(request: web.BaseRequest) -> None:
    """Answer as if the client had sent ``Connection: close``: streamed and prepared responses both obey it."""
    request._message = request._message._replace(should_close=True)  # noqa: SLF001 - there is no response yet


def _error_of(request: web.BaseRequest) -> GatewayError | None:
    """Return the error of a request that a proxy in front may read in another way, or None if there is only one way."""
    message = request._message  # noqa: SLF001 - the request as it was received
    if message.version not in _SUPPORTED_VERSIONS:
        request._cache["version"] = HttpVersion11  # noqa: SLF001 - aiohttp writes the status line in this version
        return InvalidRequest("the version must be HTTP/1.1 or HTTP/1.0")  # RFC 9112 section 2.3
    if "#" in message.path:
        return InvalidRequest("the address must not contain #")  # RFC 9112 section 3.2
    # The parser accepts each list that ends with chunked. A list that it refuses is a 400.
    if message.chunked and message.headers[hdrs.TRANSFER_ENCODING].strip().lower() != "chunked":
        return UnknownTransferCoding()
    return None


def _body_of(request: web.BaseRequest, response: web.StreamResponse | None, outcome: str) -> tuple[int, str | None]:
    """Return the bytes of the body and the cache status. ``response`` is None if the handler was cancelled.

    If the transfer broke off, the bytes of the header are included.
    """
    if isinstance(response, PreparedResponse):
        return len(response.whole.body), response.whole.cache
    if response is None:
        return request.writer.output_size, None
    status = response.headers.get("Cache-Status")
    size = request.writer.output_size
    if outcome.isdigit() and outcome != CLIENT_DISCONNECTED:
        if request.method == hdrs.METH_HEAD:
            size = 0
        elif response.content_length is not None:  # a chunked body has no length
            size = response.content_length
    return size, status.removeprefix(CACHE) if status else None
