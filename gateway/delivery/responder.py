"""Do what was decided of a request: get bytes from memory or from COS, and send the answer."""

import time
from typing import Final

from aiohttp import web

from gateway.delivery.conditions_and_ranges import forwardable_conditions
from gateway.delivery.decision import Answer, ImageRequest, NeedsBytes
from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.relay import SMALL_BODY, ClientLeft, Relay
from gateway.delivery.request_context import RequestContext
from gateway.errors import OriginUnavailable
from gateway.objects.content import Body, Content
from gateway.objects.object_source import ObjectSource
from gateway.origin.errors import BodyLost

_NO_CONDITIONS: Final[dict[str, str]] = {}


class Responder:
    """Sends answers. Whatever has to be awaited for their bytes comes from ``source``."""

    def __init__(self, source: ObjectSource, relay: Relay) -> None:
        self._source = source
        self._relay = relay

    async def fetch(self, wanted: ImageRequest, context: RequestContext, needed: NeedsBytes) -> Content:
        """Return what COS has to be asked for. Raises the errors of the origin and ``RowChanged``."""
        image, content, plan = needed.image, needed.found.content, needed.plan
        if context.origin_started is None:
            context.origin_started = time.perf_counter()
        if content is not None and plan is not None:
            if content.body is not None:
                content.body.close()
                content.body = None
            return await self._source.rest_from_cos(
                content, None if plan.last is None else f"bytes={plan.first}-{plan.last}"
            )
        if needed.by_nginx:
            # Errors are the gateway's own, only images are handed over, and a URL that COS refuses is renewed before
            # nginx uses it.
            return await self._source.head(image)
        conditions = forwardable_conditions(wanted.head.headers) if wanted.is_conditional else _NO_CONDITIONS
        byte_range = str(wanted.byte_range) if wanted.byte_range is not None else None
        return await self._source.from_cos(image, conditions, byte_range, is_head=wanted.is_head)

    async def send(self, request: web.BaseRequest, context: RequestContext, answer: Answer) -> web.StreamResponse:
        """Send an answer. A small body is read whole before its first byte is sent.

        Raises what ``Relay.send`` raises, and ``OriginUnavailable`` or ``RowChanged`` before the first byte.
        """
        if answer.source is not None:
            content, plan = answer.content, answer.plan
            assert content is not None, "a body comes with its metadata"  # noqa: S101
            is_part = content.covered is not None
            if (answer.length is None or answer.length > SMALL_BODY) and (is_part or plan.last is None):
                headers = answer.headers()
                return await self._relay.send(
                    request, context, content, headers, status=plan.status, length=answer.length
                )
            data = await _whole(answer.source)
            answer.body = data if is_part or plan.last is None else data[plan.first : plan.last + 1]
            answer.length = len(answer.body)
        response = PreparedResponse(answer)
        context.stamp(response)
        try:
            await response.send(request)
        except ConnectionError as error:
            raise ClientLeft("the connection is closed") from error
        return response


async def _whole(body: Body) -> bytes:
    try:
        return await body.read_whole()
    except BodyLost as error:  # nothing was sent yet
        raise OriginUnavailable(str(error)) from error
