"""Request dispatch: the request id, the request in flight, its response or error response, its metrics.

``Dispatch`` replaces aiohttp's request handler and passes requests for images and for their URLs to their handlers
itself: the router, the middlewares and the signals of an application together cost a third of the time that a response
from memory takes. ``Dispatch.at_once`` answers requests that need nothing but memory, without a request object.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import istr
from prometheus_client import Gauge

from gateway.access.client_address import ClientAddress
from gateway.access.request_head import RequestHead
from gateway.api.image_handler import Exchange, ImageHandler
from gateway.api.urls import UrlHandler
from gateway.canary.mark import PREFIX
from gateway.catalog.image_id import PATTERN
from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.cors import CorsOrigins, add_vary
from gateway.delivery.fallback_picture import FallbackPicture
from gateway.delivery.headers import CORS, PreparedResponse
from gateway.delivery.nginx_files import NginxFiles
from gateway.delivery.relay import ClientLeft, RelayAborted
from gateway.delivery.request_context import REQUEST_CONTEXT, RequestContext, current_request_id, head_of
from gateway.errors import GatewayError, InvalidRequest, UnknownTransferCoding
from gateway.server.connection import Connection
from gateway.server.denial_delay import DenialDelay
from gateway.server.error_responses import (
    CLIENT_DISCONNECTED,
    UNMATCHED,
    error_response,
    image_id_in_path,
    internal_error_response,
    route_name,
)
from gateway.server.metrics import ServerMetrics
from gateway.server.request_log import RequestLog, access_facts

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

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class InFlight:
    """The requests in flight, numbered in the order in which they started.

    ``started``: the number of the newest request.
    ``transports``: the connections of the requests in flight, by number.
    ``closes_connections``: each response that starts now announces the end of its connection: the gateway stops.

    The dispatch updates the first two for each request, so they are plain attributes.
    """

    def __init__(self, gauge: Gauge) -> None:
        self.started = 0
        self.closes_connections = False
        self.transports: dict[int, asyncio.Transport | None] = {}
        gauge.set_function(lambda: len(self.transports))

    def open_transports(self) -> list[asyncio.Transport]:
        """Return the connections of the requests in flight."""
        return [transport for transport in self.transports.values() if transport is not None]

    def any_before(self, number: int) -> bool:
        """Return whether any request with at most that number is in flight."""
        return any(other <= number for other in self.transports)

    def any(self) -> bool:
        """Return whether any request is in flight."""
        return bool(self.transports)


@dataclass(frozen=True, slots=True)
class DirectHandlers:
    """The handlers of addresses that ``Dispatch`` takes from the router, and what its responses depend on.

    denials_vary: returns the request fields on which a refusal depends, as a Vary field.
    """

    images: ImageHandler
    urls: UrlHandler
    nginx_files: NginxFiles
    cors_origins: CorsOrigins
    denials_vary: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where requests are counted and logged.

    ``route_prefix`` starts the names of the port's routes in metrics. With a prefix, only faults get a log line.
    ``is_canary`` returns whether a request id marks a request of the canary. None without a canary.
    """

    metrics: ServerMetrics
    client_address: ClientAddress
    request_log: RequestLog
    route_prefix: str = ""
    is_canary: Callable[[str], bool] | None = None


class Dispatch:
    """Handles every request of a port.

    handler: aiohttp's own handler, for all addresses but the addresses of ``direct``.
    direct: None on the admin port.
    fallback: the picture of error responses. None: error responses are JSON.
    """

    def __init__(
        self,
        handler: Handler,
        in_flight: InFlight,
        accounting: Accounting,
        direct: DirectHandlers | None = None,
        fallback: FallbackPicture | None = None,
    ) -> None:
        self._app_handler = handler
        self._requests = accounting.metrics.requests
        self._recent_errors = accounting.metrics.recent_errors
        self._in_flight = in_flight
        self._direct = direct
        self._fallback = fallback
        self._client_address = accounting.client_address
        self._denial_delay = DenialDelay()
        self._request_log = accounting.request_log
        # Pages of other sites may read responses of the public port, but none of the admin port.
        self._cors = CORS if direct is not None else {}
        self._route_prefix = accounting.route_prefix
        self._is_canary = accounting.is_canary

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Give the request an id, handle it, map errors to responses, stamp the response, and count the outcome."""
        begun = _begun(request)
        context = begun.context if begun is not None else self._context(request.headers)
        direct = self._direct
        current_request_id.set(context.request_id)  # aiohttp runs each request in its own task
        in_flight = self._in_flight
        in_flight.started = number = in_flight.started + 1
        in_flight.transports[number] = request.transport
        if in_flight.closes_connections:
            _close_after_response(request)
        response: web.StreamResponse | None = None
        try:
            try:
                response = await self._handle(request, context, begun)
            except (GatewayError, ClientLeft, RelayAborted, web.HTTPException, web.RequestPayloadError) as error:
                response = error_response(request, context, error, self._fallback)
                self._note(context)
            except Exception as error:  # noqa: BLE001 - logged there; the client gets an error of the usual shape
                response = internal_error_response(request, context, error, self._fallback)
                self._note(context)
            if not response.prepared:
                if not isinstance(response, PreparedResponse):
                    response.headers.update(self._cors)
                if context.is_denial:
                    await self._denial_delay.hold(context.started)
                    if direct is not None:
                        add_vary(response.headers, direct.denials_vary())
                context.stamp(response)
            context.outcome = context.outcome or str(response.status)
            return response
        finally:
            del in_flight.transports[number]
            if context.route is None:  # the router has parsed the address
                context.image_id = image_id_in_path(request)
            context.outcome = context.outcome or CLIENT_DISCONNECTED  # if the handler was cancelled
            context.size, context.cache = _body_of(request, response, context.outcome)
            route = context.route or self._route_prefix + route_name(request)
            self._count(request, route, context, request.remote)

    def at_once(self, message: RawRequestMessage, peer: str | None) -> bytes | Exchange | None:
        """Return the response to a request for an image that needs nothing but memory, and count it.

        The response is that of a call, which takes a request object, its writer, a task, and two more steps of the
        event loop. Else return the decision to which a call shall come, or None.

        message: it has no body, and its connection takes another request.
        peer: the address of the other end.
        """
        direct, headers, method = self._direct, message.headers, message.method
        path, _, query = message.path.partition("?")
        if (
            direct is None
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
            self._count(message, route, context, peer)
            return answer.whole()
        except Exception:  # noqa: BLE001 - a call fails, too, and answers with the error
            return None
        finally:
            current_request_id.reset(token)

    def _context(self, headers: Mapping[str, str]) -> RequestContext:
        context = RequestContext(headers.get(_REQUEST_ID))
        if self._direct is not None:
            context.cors_origin = self._direct.cors_origins.of(headers)
        if self._is_canary is not None and context.request_id.startswith(PREFIX):
            context.is_canary = self._is_canary(context.request_id)
        return context

    def _handle(
        self, request: web.BaseRequest, context: RequestContext, begun: Exchange | None
    ) -> Awaitable[web.StreamResponse]:
        if begun is not None and self._direct is not None:
            return self._direct.images.answer(request, begun)
        error = _error_of(request)
        direct = self._direct
        expects = hdrs.EXPECT in request.headers
        if expects and not (direct and request.method in _READ_METHODS and _ACCESS.fullmatch(request.path)):
            error = error or _error_of_expectation(request)
        if error is not None:
            context.route = UNMATCHED  # the router has not seen the request
            _close_after_response(request)
            raise error
        if direct is not None and request.method in _READ_METHODS and not expects:
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

    def _note(self, context: RequestContext) -> None:
        """Remember the error for the console. Errors of the admin port are not of images."""
        failure = context.failure
        if failure is not None and failure.code is not None and not self._route_prefix and not context.is_canary:
            self._recent_errors.record(failure.code, context.image_id, context.request_id)

    def _count(
        self, request: RawRequestMessage | web.BaseRequest, route: str, context: RequestContext, peer: str | None
    ) -> None:
        """Count and time the request, which has ended, and log it in the access log.

        On the admin port, and of the canary, only faults are logged.
        """
        if context.is_canary:
            route = f"{CANARY}{route}"
        outcome, context.seconds = context.outcome, context.elapsed()
        self._requests.record(route, context.delivery, outcome, context.seconds, context.first_byte)
        request_log, failure = self._request_log, context.failure
        is_of_a_user = not self._route_prefix and not context.is_canary
        if (is_of_a_user and request_log.is_on.value and request_log.wants(route, outcome)) or (
            failure is not None and failure.is_fault
        ):
            client = self._client_address.of(request.headers, peer)
            request_log.add(access_facts(request.method, route, context, client))


class TracedDispatch(Dispatch):
    """The dispatch if tracing is enabled: answers each request within a span.

    templates: the addresses of routes by their names.
    """

    def __init__(
        self,
        handler: Handler,
        in_flight: InFlight,
        accounting: Accounting,
        direct: DirectHandlers,
        fallback: FallbackPicture | None,
        spans: "Spans",
        templates: Mapping[str, str],
    ) -> None:
        super().__init__(handler, in_flight, accounting, direct, fallback)
        self._spans = spans
        self._templates = templates

    def at_once(self, message: RawRequestMessage, peer: str | None) -> None:
        """Return None: every request has a span."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle the request as ``Dispatch`` does."""
        if request.rel_url.raw_path in _PROBES:
            return await super().__call__(request)
        with self._spans.request(request.method, request.headers):
            return await super().__call__(request)

    def _count(
        self, request: RawRequestMessage | web.BaseRequest, route: str, context: RequestContext, peer: str | None
    ) -> None:
        context.trace_id = self._spans.trace_id()
        super()._count(request, route, context, peer)
        if self._spans.is_recorded() and isinstance(request, web.BaseRequest):
            facts = access_facts(request.method, route, context, None)
            self._spans.describe(facts.by_name(), self._templates.get(route), request.scheme)


def _begun(request: web.BaseRequest) -> Exchange | None:
    """Return the request with the decision to which ``at_once`` has come."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        return None
    begun = connection.begun_by(request._message)  # noqa: SLF001 - the request as it was received
    return begun if isinstance(begun, Exchange) else None


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


def _error_of_expectation(request: web.BaseRequest) -> GatewayError | None:
    """Return the error of an unknown ``Expect``. Its text is constant: that of aiohttp has the bytes of the field."""
    if request.version == HttpVersion11 and request.headers[hdrs.EXPECT].lower() != "100-continue":
        return InvalidRequest("the only expectation is 100-continue")
    return None


def _body_of(request: web.BaseRequest, response: web.StreamResponse | None, outcome: str) -> tuple[int, str | None]:
    """Return the bytes of the body and the cache status. ``response`` is None if the handler was cancelled."""
    if isinstance(response, PreparedResponse):
        return len(response.whole.body), response.whole.cache
    status = response.headers.get("Cache-Status") if response is not None else None
    return _bytes_of(request, response, outcome), status.removeprefix("image-gateway; ") if status else None


def _bytes_of(request: web.BaseRequest, response: web.StreamResponse | None, outcome: str) -> int:
    """Return the bytes of the body. If the transfer broke off, the bytes of the header are included."""
    if response is None or not outcome.isdigit() or outcome == "499":
        return request.writer.output_size
    if request.method == hdrs.METH_HEAD:
        return 0
    # A chunked body has no length; aiohttp's count of written bytes includes the header.
    return response.content_length if response.content_length is not None else request.writer.output_size
