"""Request dispatch with traces, which replaces ``Dispatch`` if tracing is enabled."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http import RawRequestMessage

from gateway.delivery.fallback_picture import FallbackPicture
from gateway.delivery.request_context import RequestContext
from gateway.server.dispatch import Accounting, DirectHandlers, Dispatch, Handler, InFlight
from gateway.server.request_log import access_facts

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans

_PROBES: Final = frozenset({"/healthz", "/readyz"})  # requested every few seconds by probes


class TracedDispatch(Dispatch):
    """Answers each request within a span. ``templates`` are the addresses of routes by their names."""

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
