"""Answer a request for an image with the object's bytes: preconditions and ranges, then memory or COS."""

import time
from collections.abc import Mapping

from aiohttp import web

from gateway.catalog.record import ImageRecord
from gateway.delivery.byte_range import ByteRange
from gateway.delivery.headers import (
    cache_status_of_fetch,
    cache_status_of_hit,
    cache_status_of_revalidation,
    cache_status_of_variant,
    content_type_of,
    image_fields,
    image_headers,
)
from gateway.delivery.image_request import Exchange
from gateway.delivery.plan import NOT_MODIFIED, WHOLE, Plan, plan_for
from gateway.delivery.preconditions import forwardable_conditions
from gateway.delivery.prepared_response import PreparedResponse
from gateway.delivery.relay import FROM_COS, FROM_MEMORY, SMALL_BODY, Body, ClientLeft, Relay, read_whole
from gateway.errors import OriginUnavailable, RangeNotSatisfiable
from gateway.metrics.collectors import Metrics
from gateway.origin.errors import BodyLost, ObjectMoved
from gateway.origin.memory_cache import Entry
from gateway.origin.object_body import ObjectBody
from gateway.origin.object_source import ObjectSource
from gateway.origin.origin_response import ObjectMetadata
from gateway.origin.shared_transfer import Reader
from gateway.presign.signed_image import SignedImage

_MOST_LOOKUPS = 3
_NO_CONDITIONS: Mapping[str, str] = {}


class Responder:
    """Sends the bytes of images, or only the 304 or the headers."""

    def __init__(self, source: ObjectSource, relay: Relay, metrics: Metrics) -> None:
        self._source = source
        self._variants = source.variants
        self._memory = source.memory
        self._relay = relay
        self._sent_bytes = metrics.sent_bytes

    async def answer(self, exchange: Exchange) -> web.StreamResponse:
        """Send 200, 206 or 304.

        Raises the errors of the origin and of ``Relay.send``, ``NotAnImage``, ``PreconditionFailed`` and
        ``RangeNotSatisfiable``.
        """
        for _ in range(_MOST_LOOKUPS):
            image = exchange.image
            entry = self._memory.get_fresh(image) or self._source.usable(image)
            try:
                if entry is not None:
                    return await self._from_entry(exchange, entry)
                exchange.context.origin_started = time.perf_counter()
                return await self._from_origin(exchange, image)
            except ObjectMoved:
                await exchange.resolve_again()
        raise OriginUnavailable(f"the image's row changed during {_MOST_LOOKUPS} look-ups")

    async def _from_entry(
        self, exchange: Exchange, entry: Entry, status: str | None = None, *, may_fetch_part: bool = True
    ) -> web.StreamResponse:
        """Answer from the entry in memory; ``status`` is the Cache-Status, None if there was no request to COS."""
        image, wanted = exchange.image, exchange.wanted
        plan = self._plan(exchange, entry.metadata)
        if wanted.is_head or plan is NOT_MODIFIED:
            age = entry if status is None else None
            return self._headers_only(exchange, plan, entry.metadata, status or self._hit(entry), age)
        if entry.body is not None:
            return await self._from_memory(exchange, plan, entry, entry.body, status or self._hit(entry))
        if image.rendition is not None:
            return await self._rendition(exchange, image, None)
        if plan.status == 206 and may_fetch_part and not self._source.keeps(entry.metadata):
            return await self._part(exchange, ByteRange(plan.first, plan.last), _NO_CONDITIONS)
        return await self._whole(exchange, image, _NO_CONDITIONS)

    async def _from_origin(self, exchange: Exchange, image: SignedImage) -> web.StreamResponse:
        """Answer from COS."""
        wanted = exchange.wanted
        stale = self._memory.get(image)
        if image.rendition is not None:
            return await self._rendition(exchange, image, stale)
        if stale is not None and stale.body is not None:
            return await self._revalidated(exchange, image, stale, stale.body)
        if wanted.is_plain:
            return await self._whole(exchange, image, _NO_CONDITIONS)
        if wanted.is_head:
            return await self._after_head(exchange, image)
        conditions = forwardable_conditions(exchange.request.headers)
        if wanted.byte_range is not None:
            return await self._part(exchange, wanted.byte_range, conditions)
        return await self._whole(exchange, image, conditions)

    async def _rendition(self, exchange: Exchange, image: SignedImage, stale: Entry | None) -> web.StreamResponse:
        """Answer with a rendition that memory does not hold, or holds stale."""
        variant = await self._variants.fetch(image, stale)
        await self._authorize_again(exchange, variant.renewed)
        entry = variant.entry
        if entry is None or entry.body is None:  # larger than a rendition should be
            return await self._whole(exchange, exchange.image, _NO_CONDITIONS)
        plan = self._plan(exchange, entry.metadata)
        status = cache_status_of_variant(variant.status, had_stale=stale is not None)
        if exchange.wanted.is_head or plan is NOT_MODIFIED:
            return self._headers_only(exchange, plan, entry.metadata, status, entry)
        source = FROM_COS if variant.status == 200 else FROM_MEMORY
        return await self._from_memory(exchange, plan, entry, entry.body, status, source)

    async def _after_head(
        self, exchange: Exchange, image: SignedImage, *, may_fetch_part: bool = True
    ) -> web.StreamResponse:
        """Fetch only the metadata (HEAD), then answer."""
        head = await self._source.head(image)
        await self._authorize_again(exchange, head.renewed)
        return await self._from_entry(exchange, head.entry, cache_status_of_fetch(200), may_fetch_part=may_fetch_part)

    async def _part(
        self, exchange: Exchange, byte_range: ByteRange, conditions: Mapping[str, str]
    ) -> web.StreamResponse:
        image = exchange.image
        try:
            body = await self._source.part(image, str(byte_range), conditions)
        except RangeNotSatisfiable:
            # A 416 of COS may lack the size, and does not say whether If-Range lets the range apply. If HEAD then
            # has another size than GET, another request for the part would lead back here.
            return await self._after_head(exchange, image, may_fetch_part=False)
        try:
            await self._authorize_again(exchange, body.renewed)
            answer = await self._from_part(exchange, body)
        finally:
            body.close()
        # The client's copy is of another version: it needs the whole image.
        return answer if answer is not None else await self._whole(exchange, exchange.image, _NO_CONDITIONS)

    async def _from_part(self, exchange: Exchange, body: ObjectBody) -> web.StreamResponse | None:
        status = cache_status_of_fetch(body.status)
        plan = NOT_MODIFIED if body.status == 304 else self._plan(exchange, body.metadata)
        if plan is NOT_MODIFIED:
            return self._headers_only(exchange, plan, body.metadata, status)
        covered = body.content_range
        if body.status == 200:  # COS and the gateway may ignore a range (RFC 9110 section 14.2)
            return await self._send(exchange, WHOLE, body.metadata, body, status)
        if covered is None or (plan.status, plan.first, plan.last) != (206, covered.first, covered.last):
            return None
        return await self._send(exchange, plan, body.metadata, body, status)

    async def _whole(self, exchange: Exchange, image: SignedImage, conditions: Mapping[str, str]) -> web.StreamResponse:
        return await self._read(exchange, await self._source.whole(image, conditions))

    async def _revalidated(
        self, exchange: Exchange, image: SignedImage, stale: Entry, body: bytes
    ) -> web.StreamResponse:
        """Revalidate stale bytes in memory; answer with them unless COS has another version."""
        revalidation = await self._source.revalidate(image, stale)
        if revalidation.reader is not None:
            return await self._read(exchange, revalidation.reader)
        await self._authorize_again(exchange, revalidation.renewed)
        plan = self._plan(exchange, stale.metadata)
        status = cache_status_of_revalidation(revalidation.status)
        if exchange.wanted.is_head or plan is NOT_MODIFIED:
            return self._headers_only(exchange, plan, stale.metadata, status, stale)
        return await self._from_memory(exchange, plan, stale, body, status)

    async def _read(self, exchange: Exchange, reader: Reader) -> web.StreamResponse:
        """Answer with the object that ``reader`` reads, and close it."""
        try:
            await self._authorize_again(exchange, reader.renewed)
            return await self._from_reader(exchange, reader)
        finally:
            reader.close()

    async def _from_reader(self, exchange: Exchange, reader: Reader) -> web.StreamResponse:
        transfer = reader.transfer
        body = transfer.body
        metadata = body.metadata
        status = cache_status_of_fetch(body.status, transfer.keeps_all, reader.is_collapsed, reader.had_stale)
        plan = NOT_MODIFIED if body.status == 304 else self._plan(exchange, metadata)
        if exchange.wanted.is_head or plan is NOT_MODIFIED:
            return self._headers_only(exchange, plan, metadata, status)
        is_small = plan is WHOLE and body.length is not None and body.length <= SMALL_BODY
        if is_small or (plan.status == 206 and transfer.keeps_all):
            try:
                whole = await transfer.read_whole()
            except BodyLost as error:  # nothing was sent yet
                raise OriginUnavailable(str(error)) from error
            return await self._send_prepared(exchange, plan, metadata, status, _cut_out(whole, plan))
        # A range of an object too large to be kept is answered with the whole: RFC 9110 section 14.2.
        return await self._send(exchange, WHOLE, metadata, reader, status)

    async def _send(
        self, exchange: Exchange, plan: Plan, metadata: ObjectMetadata, body: Body, status: str
    ) -> web.StreamResponse:
        length = metadata.size if plan.last is None else plan.last - plan.first + 1
        if length is not None and length <= SMALL_BODY:
            return await self._send_prepared(exchange, plan, metadata, status, await read_whole(body))
        headers = image_headers(exchange.image, metadata, exchange.policy, download=exchange.wanted.download)
        headers["Cache-Status"] = exchange.cache_status(status)
        if plan.status == 206:
            headers["Content-Range"] = _content_range(plan, metadata)
        return await self._relay.send(exchange, body, headers, status=plan.status, length=length)

    async def _from_memory(
        self,
        exchange: Exchange,
        plan: Plan,
        entry: Entry,
        body: bytes,
        status: str,
        source: tuple[str, ...] = FROM_MEMORY,
    ) -> web.StreamResponse:
        age = f"Age: {int(self._memory.age(entry))}\r\n"  # RFC 9111 section 5.1
        return await self._send_prepared(exchange, plan, entry.metadata, status, _cut_out(body, plan), age, source)

    async def _send_prepared(
        self,
        exchange: Exchange,
        plan: Plan,
        metadata: ObjectMetadata,
        status: str,
        body: bytes,
        age: str = "",
        source: tuple[str, ...] = FROM_COS,
    ) -> PreparedResponse:
        """Send a body that is complete; raises ``NotAnImage`` or ``ClientLeft``."""
        fixed = image_fields(exchange.image, metadata, exchange.policy, exchange.wanted.download)
        covered = "" if plan.last is None else f"Content-Range: {_content_range(plan, metadata)}\r\n"
        response = PreparedResponse(
            fixed, f"Cache-Status: {exchange.cache_status(status)}\r\n{covered}{age}", body, plan.status
        )
        exchange.context.stamp(response)
        try:
            await response.send(exchange.request)
        except ConnectionError as error:
            raise ClientLeft("the connection is closed") from error
        self._sent_bytes.add(source, len(body))
        return response

    def _headers_only(
        self, exchange: Exchange, plan: Plan, metadata: ObjectMetadata, status: str, entry: Entry | None = None
    ) -> web.StreamResponse:
        """Return the answer to HEAD, or a 304; ``entry`` if its metadata is from memory."""
        headers = image_headers(
            exchange.image,
            metadata,
            exchange.policy,
            download=exchange.wanted.download,
            with_body=plan is not NOT_MODIFIED,
        )
        headers["Cache-Status"] = exchange.cache_status(status)
        if entry is not None:
            headers["Age"] = str(int(self._memory.age(entry)))  # RFC 9111 section 5.1
        if plan.status == 206:
            headers["Content-Range"] = _content_range(plan, metadata)
        if plan.status == 200 and metadata.size is not None:
            headers["Content-Length"] = str(metadata.size)
        return web.Response(status=plan.status, headers=headers)

    def _plan(self, exchange: Exchange, metadata: ObjectMetadata) -> Plan:
        """Return the plan; raises ``NotAnImage`` first, since errors ignore preconditions (RFC 9110 section 13.2.1)."""
        wanted = exchange.wanted
        if wanted.is_plain or (wanted.is_head and not wanted.is_conditional):
            return WHOLE
        _check_type(exchange.image.record, metadata)
        return plan_for(exchange.request.headers, wanted.byte_range, metadata)

    def _hit(self, entry: Entry) -> str:
        return cache_status_of_hit(self._memory.freshness(entry))

    async def _authorize_again(self, exchange: Exchange, renewed: SignedImage | None) -> None:
        """Check access again if the URL was renewed for a row that has changed; raises ``ObjectMoved``."""
        image = exchange.image
        if renewed is None or renewed.record == image.record:
            return
        await exchange.resolve_again()
        if exchange.image.object_id != image.object_id:
            raise ObjectMoved


def _check_type(record: ImageRecord, metadata: ObjectMetadata) -> None:
    content_type_of(record.content_type, metadata.content_type)


def _cut_out(body: bytes, plan: Plan) -> bytes:
    return body if plan.last is None else body[plan.first : plan.last + 1]


def _content_range(plan: Plan, metadata: ObjectMetadata) -> str:
    return f"bytes {plan.first}-{plan.last}/{metadata.size}"
