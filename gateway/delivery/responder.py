"""Answer a request for an image with the object's bytes: preconditions and ranges, then memory or COS."""

import time
from collections.abc import Awaitable, Mapping
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.conditions_and_ranges import NOT_MODIFIED, WHOLE, Plan, forwardable_conditions, plan_for
from gateway.delivery.headers import content_type_of, image_fields, image_headers, own_fields, own_lines
from gateway.delivery.image_request import Exchange
from gateway.delivery.prepared_response import COPIED, PreparedResponse
from gateway.delivery.relay import FROM_COS, FROM_MEMORY, SMALL_BODY, ClientLeft, Relay
from gateway.errors import OriginUnavailable
from gateway.metrics.loop_counters import LoopCounter
from gateway.origin.content import Body, Content
from gateway.origin.errors import BodyLost, RowChanged
from gateway.origin.object_source import ObjectSource
from gateway.origin.origin_response import ContentRange
from gateway.presign.signed_image import AuthorizedImage

_NO_CONDITIONS: Final[Mapping[str, str]] = {}


class Responder:
    """Sends the bytes of images, or only the 304 or the headers."""

    def __init__(self, source: ObjectSource, relay: Relay, sent_bytes: LoopCounter) -> None:
        self._source = source
        self._relay = relay
        self._sent_bytes = sent_bytes

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send 200, 206 or 304.

        Raises the errors of the origin, of ``Exchange.resolve_again`` and of ``Relay.send``, ``NotAnImage``,
        ``PreconditionFailed`` and ``RangeNotSatisfiable``.
        """
        while True:
            try:
                content = self._source.in_memory(exchange.image) or await self._from_cos(exchange)
                return await self._respond(exchange, content)
            except RowChanged:
                await exchange.resolve_again()

    @property
    def has_bytes(self) -> bool:
        """Whether memory holds the bytes of any image."""
        return self._source.memory.has_bytes

    def at_once(self, image: AuthorizedImage, policy: CachePolicy) -> PreparedResponse | None:
        """Return the 200 of a small image whose bytes are fresh in memory, else None. Raises ``NotAnImage``."""
        content = self._source.fresh_in_memory(image)
        if content is None or content.data is None or len(content.data) > COPIED:
            return None
        own = own_lines(content, WHOLE, is_substitute=False)
        response = PreparedResponse(image_fields(image, content.metadata, policy, None), own, content.data)
        self._sent_bytes.add(FROM_MEMORY, len(content.data))
        return response

    def _from_cos(self, exchange: Exchange) -> Awaitable[Content]:
        """Ask COS for what the request needs."""
        exchange.context.origin_started = time.perf_counter()
        wanted = exchange.wanted
        conditions = forwardable_conditions(exchange.request.headers) if wanted.is_conditional else _NO_CONDITIONS
        byte_range = str(wanted.byte_range) if wanted.byte_range is not None else None
        return self._source.from_cos(exchange.image, conditions, byte_range, is_head=wanted.is_head)

    async def _respond(self, exchange: Exchange, content: Content) -> web.StreamResponse:
        """Answer with ``content``, or with the bytes that it lacks for the answer."""
        try:
            plan = WHOLE if exchange.wanted.is_plain else self._plan(exchange, content)
            if exchange.wanted.is_head or plan is NOT_MODIFIED:
                return self._headers_only(exchange, plan, content)
            if content.data is not None:
                return await self._send(exchange, plan, content, _cut_out(content.data, plan))
            if content.body is not None and (content.covered is None or _is(content.covered, plan)):
                return await self._from_body(exchange, plan, content, content.body)
        finally:
            if content.body is not None:
                content.body.close()
        byte_range = None if plan.last is None else f"bytes={plan.first}-{plan.last}"
        return await self._respond(exchange, await self._source.rest_from_cos(content, byte_range))

    def _plan(self, exchange: Exchange, content: Content) -> Plan:
        """Return the plan. Raises ``NotAnImage`` first, since errors ignore preconditions (RFC 9110 section 13.2.1)."""
        wanted = exchange.wanted
        if wanted.is_head and not wanted.is_conditional:
            return WHOLE
        if content.is_not_modified:
            return NOT_MODIFIED
        content_type_of(content.image.record.content_type, content.metadata.content_type)
        return plan_for(exchange.request.headers, wanted.byte_range, content.metadata)

    def _headers_only(self, exchange: Exchange, plan: Plan, content: Content) -> web.StreamResponse:
        """Return the answer to HEAD, or a 304."""
        headers = self._headers(exchange, plan, content)
        if plan.status == 200 and content.metadata.size is not None:
            headers["Content-Length"] = str(content.metadata.size)
        return web.Response(status=plan.status, headers=headers)

    async def _from_body(self, exchange: Exchange, plan: Plan, content: Content, body: Body) -> web.StreamResponse:
        """Send the planned bytes of ``body``. A small body is read whole before its first byte is sent.

        Raises what ``Relay.send`` and ``_send`` raise, and ``OriginUnavailable``.
        """
        is_part = content.covered is not None
        if not (is_part or content.is_stored):
            plan = WHOLE  # a range of an object too large to be kept: RFC 9110 section 14.2 lets it be ignored
        length = content.metadata.size if plan.last is None else plan.last + 1 - plan.first
        if (length is None or length > SMALL_BODY) and (is_part or plan.last is None):
            headers = self._headers(exchange, plan, content)
            return await self._relay.send(exchange, content, headers, status=plan.status, length=length)
        try:
            data = await body.read_whole()
        except BodyLost as error:  # nothing was sent yet
            raise OriginUnavailable(str(error)) from error
        return await self._send(exchange, plan, content, data if is_part else _cut_out(data, plan))

    async def _send(self, exchange: Exchange, plan: Plan, content: Content, data: bytes) -> PreparedResponse:
        """Send ``data``, all of the planned bytes. Raises ``NotAnImage`` or ``ClientLeft``."""
        own = own_lines(content, plan, is_substitute=exchange.is_fallback)
        fixed = image_fields(content.image, content.metadata, exchange.policy, exchange.wanted.download)
        response = PreparedResponse(fixed, own, data, plan.status)
        exchange.context.stamp(response)
        try:
            await response.send(exchange.request)
        except ConnectionError as error:
            raise ClientLeft("the connection is closed") from error
        self._sent_bytes.add(FROM_COS if content.age is None else FROM_MEMORY, len(data))
        return response

    def _headers(self, exchange: Exchange, plan: Plan, content: Content) -> "CIMultiDict[str]":
        policy, download = exchange.policy, exchange.wanted.download
        with_body = plan is not NOT_MODIFIED
        headers = image_headers(content.image, content.metadata, policy, download=download, with_body=with_body)
        headers.update(own_fields(content, plan, is_substitute=exchange.is_fallback))
        return headers


def _is(covered: ContentRange, plan: Plan) -> bool:
    return (covered.first, covered.last) == (plan.first, plan.last)


def _cut_out(whole: bytes, plan: Plan) -> bytes:
    return whole if plan.last is None else whole[plan.first : plan.last + 1]
