"""Answer requests for one image: decide, await what is missing, decide again, send."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import Counter

from gateway.access.client_address import ClientAddress
from gateway.access.policy import permit
from gateway.access.request_head import RequestHead
from gateway.delivery.conditions_and_ranges import forwardable_conditions
from gateway.delivery.decision import (
    NOTHING,
    REFUSALS,
    Answer,
    Decision,
    Found,
    ImageId,
    ImageRequest,
    NeedsBytes,
    NeedsLookUp,
    Refused,
    Rules,
    decide,
)
from gateway.delivery.parameters import NO_PARAMETERS, VariantRequests
from gateway.delivery.prepared_response import COPIED, Prepared, PreparedResponse
from gateway.delivery.relay import FROM_COS, FROM_MEMORY, SMALL_BODY, ClientLeft, relay
from gateway.delivery.request_context import RequestContext
from gateway.errors import (
    DENIALS,
    AccelNotConfigured,
    OriginUnavailable,
    Overloaded,
    TooManyVariants,
    without_traceback,
)
from gateway.metrics.loop_counters import LoopCounter
from gateway.objects.content import Content
from gateway.objects.object_source import ObjectSource
from gateway.objects.variant_source import RefusedVariants
from gateway.origin.cos_errors import BodyLost, RowChanged
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import AuthorizedImage, SignedImage
from gateway.settings import Live, ServerSettings
from gateway.urls.new_variants import NewVariant
from gateway.urls.resolver import UrlResolver
from gateway.urls.usage_counter import UsageCounter

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Exchange:
    """A client's request for an image, with what I/O has found so far (``found``), and the decision that follows.

    is_used: the request has been counted as a use of the image.
    is_replaced: the requested rendition has been counted as replaced by another image.
    """

    context: RequestContext
    wanted: ImageRequest
    decision: Decision
    found: Found = NOTHING
    is_used: bool = False
    is_replaced: bool = False

    def finds(self, found: Found) -> None:
        """Go on with ``found``. A body of COS that it lacks is closed."""
        before, self.found = self.found.content, found
        if before is not None and before.body is not None and before is not found.content:
            before.body.close()

    def close(self) -> None:
        """Close the body of COS that was found, if there is one."""
        self.finds(NOTHING)


@dataclass(frozen=True, slots=True)
class ImageMemory:
    """What is known of images without I/O (``KnownInMemory``): cached URLs, content, renditions that COS refused."""

    resolver: UrlResolver
    source: ObjectSource
    refused: RefusedVariants

    def image(self, image_id: str, rendition: str | None) -> SignedImage | None:
        return self.resolver.image_here(image_id, rendition)

    def content(self, image: AuthorizedImage) -> Content | None:
        return self.source.memory.content(image)

    def keeps(self, metadata: ObjectMetadata) -> bool:
        return self.source.keeps(metadata)

    def now(self) -> float:
        return self.resolver.local.now()

    def after_waiting(self, image: SignedImage, since: float) -> SignedImage | None:
        return self.resolver.after_waiting(image, since)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters of requests for images. ``accel_not_configured`` counts a request without ``accel.conf``.

    variants: requested renditions by style, format and result: the rendition, or which image replaced it.
    """

    usage: UsageCounter
    sent_bytes: LoopCounter
    variants: Counter
    accel_not_configured: Callable[[], AccelNotConfigured]


@dataclass(slots=True)
class ImageHandler:
    """Answers ``/i/{id}`` and ``/api/v1/images/{id}/proxy``, at most ``max_streams`` requests at a time.

    streams: how many images are being sent.
    """

    server: Live[ServerSettings]
    rules: Live[Rules]
    memory: ImageMemory
    client_address: ClientAddress
    variant_requests: VariantRequests
    counts: Counts
    streams: int = field(default=0, init=False)

    def begin(self, head: RequestHead, image_id: ImageId, context: RequestContext) -> Exchange:
        """Return the request with the first decision. The image id must be valid."""
        query = head.query
        parameters = self.variant_requests.read(query, head.headers) if query else NO_PARAMETERS
        context.variant, context.is_negotiated = parameters.rendition, parameters.is_negotiated
        wanted = ImageRequest(head, image_id, parameters)
        return Exchange(context, wanted, decide(wanted, NOTHING, self.memory, self.rules.value, time.time()))

    def at_once(self, exchange: Exchange) -> Prepared | None:
        """Return the answer if it can be sent without awaiting anything, and count it, else None."""
        answer = exchange.decision
        if (
            not isinstance(answer, Answer)
            or answer.source is not None
            or len(answer.body) > COPIED
            or self.streams >= self.server.value.max_streams
        ):
            return None
        self._note(exchange, answer)
        self._sent(answer)
        return answer

    async def answer(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        """Send the image's bytes, a redirect to them, or an X-Accel-Redirect for nginx. Raises ``GatewayError``.

        A request beyond ``max_streams`` is refused at once (``Overloaded``), so that the requests in flight stay fast.
        A query that no address of an image has keeps its own error, which says that trying again is of no use. A denial
        does not: it would tell an image that is cached here from an unknown id.
        """
        takes_place = not isinstance(exchange.decision, Refused) or exchange.decision.is_denial
        if takes_place and self.streams >= self.server.value.max_streams:
            raise Overloaded(f"{self.streams} streams in flight")
        self.streams += 1
        try:
            while True:
                decision = exchange.decision
                self._note(exchange, decision)
                if isinstance(decision, Refused):
                    is_counted = isinstance(decision.error, AccelNotConfigured)
                    raise self.counts.accel_not_configured() if is_counted else decision.error
                exchange.finds(decision.found)
                try:
                    if isinstance(decision, Answer):
                        response = await self._send(request, exchange, decision)
                        self._sent(decision)
                        return response
                    if isinstance(decision, NeedsBytes):
                        found = await self._fetch(exchange, decision)
                    else:
                        found = await self._look_up(exchange, decision)
                except RowChanged:
                    found = decision.found.starts_again()
                exchange.finds(found)
                exchange.decision = decide(exchange.wanted, found, self.memory, self.rules.value, time.time())
        finally:
            exchange.close()
            self.streams -= 1

    def _note(self, exchange: Exchange, decision: Decision) -> None:
        """Note for metrics and the access log what was decided."""
        context, parameters = exchange.context, exchange.wanted.parameters
        if decision.caller is not None:
            context.caller = decision.caller
        if not exchange.is_replaced and decision.found.instead_of is not None and parameters.rendition is not None:
            exchange.is_replaced = True
            rendition = self.rules.value.renditions.get(parameters.rendition)
            result = "limited" if isinstance(decision.found.instead_of, TooManyVariants) else "fallback"
            self.counts.variants.labels(style=rendition.style, format=rendition.format or "fixed", result=result).inc()
        image = decision.image
        context.may_view = image is not None
        context.delivery = decision.delivery
        if image is None:
            return
        if not exchange.is_used and not context.is_canary:
            exchange.is_used = True
            self.counts.usage.accessed(image.record.image_id, image.rendition)
        if parameters.is_negotiated and isinstance(decision, Answer) and decision.names_content:
            # The client requested the sent image by another address (RFC 9110 section 8.7).
            query, path = self.rules.value.renditions.query(image.rendition), exchange.wanted.head.path
            context.content_location = f"{path}?{query}" if query else path

    def _sent(self, answer: Answer) -> None:
        """Count the bytes that were sent, apart from those that ``relay`` counts, and ask COS about old ones."""
        content = answer.content
        if content is None or not answer.body:
            return
        self.counts.sent_bytes.add(FROM_COS if content.age is None else FROM_MEMORY, len(answer.body))
        if content.fresh_for is not None and content.fresh_for <= 0:
            self.memory.source.revalidate(answer.image)

    async def _look_up(self, exchange: Exchange, needed: NeedsLookUp) -> Found:
        """Return the image that was looked up. The caller may not see it: that is decided next."""
        found = needed.found
        try:
            image = await self._find(exchange, needed)
        except TooManyVariants as error:  # the original is sent, if the caller may see it
            return found._replace(rendition=None, instead_of=found.instead_of or error)
        except DENIALS:
            return found._replace(is_missing=True)
        return found._replace(image=image)

    async def _find(self, exchange: Exchange, needed: NeedsLookUp) -> SignedImage:
        """Look up an image that this process has not cached, or whose id it has to find first.

        Only callers that may see a variant use up the bound on new variants, and get its error.
        """
        resolver, rendition, head = self.memory.resolver, needed.rendition, exchange.wanted.head
        image_id = exchange.wanted.image_id
        if not isinstance(image_id, str):
            image_id = exchange.context.image_id = await image_id()
            if (image := self.memory.image(image_id, rendition)) is not None:
                return image
        if rendition is None or "@" not in rendition:  # the original, or a fixed style: there is no bound
            return (await resolver.look_up(image_id, rendition)).image
        found = await resolver.look_up_cached(image_id, rendition)
        if isinstance(found, NewVariant):
            audience = self.rules.value.renditions.audience(rendition, image_is_public=found.record.public)
            permit(needed.caller_of, found.record, audience, time.time())
            client = self.client_address.subscriber_of(head.headers, head.peer)
            found = await resolver.look_up(image_id, rendition, client=client)
        return found.image

    async def _fetch(self, exchange: Exchange, needed: NeedsBytes) -> Found:
        """Return what COS sends. Raises its errors, except that of a rendition that COS does not make."""
        image, requested_at = needed.image, self.memory.refused.now()
        try:
            content = await self._ask_cos(exchange, needed)
        except REFUSALS as error:
            if image.rendition is None:
                raise
            logger.info(
                "COS did not make a variant: image=%s variant=%s reason=%s",
                image.record.image_id,
                image.rendition,
                error,
            )
            self.memory.refused.refused(image, error, requested_at)
            return needed.found._replace(image=image, content=None, refusal=without_traceback(error))
        return needed.found._replace(image=image, content=content)

    async def _ask_cos(self, exchange: Exchange, needed: NeedsBytes) -> Content:
        """Return what COS has to be asked for. Raises the errors of the origin and ``RowChanged``."""
        source, wanted, context = self.memory.source, exchange.wanted, exchange.context
        image, content, plan = needed.image, needed.found.content, needed.plan
        if context.origin_started is None:
            context.origin_started = time.perf_counter()
        if content is not None and plan is not None:
            if content.body is not None:
                content.body.close()
                content.body = None
            return await source.rest_from_cos(content, None if plan.last is None else f"bytes={plan.first}-{plan.last}")
        if needed.by_nginx:
            # Errors are the gateway's own, only images are handed over, and a URL that COS refuses is renewed before
            # nginx uses it.
            return await source.head(image)
        conditions = forwardable_conditions(wanted.head.headers) if wanted.is_conditional else {}
        byte_range = str(wanted.byte_range) if wanted.byte_range is not None else None
        return await source.from_cos(image, conditions, byte_range, is_head=wanted.is_head)

    async def _send(self, request: web.BaseRequest, exchange: Exchange, answer: Answer) -> web.StreamResponse:
        """Send an answer. A small body is read whole before its first byte is sent. Raises as ``relay`` does.

        The row may change while COS sends the first bytes: then nothing is sent (``RowChanged``). If it may have, the
        answer becomes unread.
        """
        context = exchange.context

        def begins(response: web.StreamResponse | None = None) -> None:
            image = self.memory.after_waiting(answer.image, answer.found.since)
            if image is None:
                raise RowChanged("the row has changed")
            if image.unread and not answer.policy.unread:
                answer.becomes_unread(exchange.wanted.parameters.download)
                if response is not None:
                    response.headers.update(answer.headers())

        if answer.source is not None:
            content, plan, length = answer.content, answer.plan, answer.length
            assert content is not None, "a body comes with its metadata"  # noqa: S101
            is_part = content.covered is not None
            if (length is None or length > SMALL_BODY) and (is_part or plan.last is None):
                begun = web.StreamResponse(status=plan.status, headers=answer.headers())
                return await relay(request, begun, content, context, self.counts.sent_bytes, length, begins)
            try:
                data = await answer.source.read_whole()
            except BodyLost as error:  # nothing was sent yet
                raise OriginUnavailable(str(error)) from error
            begins()
            answer.body = data if is_part or plan.last is None else data[plan.first : plan.last + 1]
            answer.length = len(answer.body)
        context.stamp(answer)
        response = PreparedResponse(answer)
        try:
            await response.send(request)
        except ConnectionError as error:
            raise ClientLeft("the connection is closed") from error
        return response
