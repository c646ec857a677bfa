"""One request for an image on its way to an answer: conditions and ranges first, then bytes from memory or from COS."""

from collections.abc import Awaitable, Mapping

from aiohttp import web
from multidict import CIMultiDict

from gateway.catalog.record import ImageRecord
from gateway.delivery import cache_status
from gateway.delivery.exchange import Exchange
from gateway.delivery.headers import CachePolicy, content_type_of, image_fields, image_headers
from gateway.delivery.plan import NOT_MODIFIED, WHOLE, Plan, plan_for
from gateway.delivery.preconditions import forwardable_conditions
from gateway.delivery.relay import SMALL_BODY, Body, Relay, all_of
from gateway.errors import OriginUnavailable, RangeNotSatisfiable
from gateway.origin.errors import BodyLost, ObjectMoved
from gateway.origin.memory_cache import Entry
from gateway.origin.object_body import ObjectBody
from gateway.origin.object_metadata import ObjectMetadata
from gateway.origin.object_source import Kept, ObjectSource
from gateway.origin.transfer import Reader
from gateway.presign.presigned_url import SignedImage


class Answering:
    """One request on its way to an answer."""

    __slots__ = ("_byte_range", "_exchange", "_headers", "_is_head", "_policy", "_relay", "_source")

    def __init__(self, source: ObjectSource, relay: Relay, policy: CachePolicy, exchange: Exchange) -> None:
        self._source = source
        self._relay = relay
        self._policy = policy
        self._exchange = exchange
        self._headers = exchange.request.headers
        self._is_head = exchange.is_head
        self._byte_range = exchange.byte_range

    async def answer(self, image: SignedImage, known: Entry | None) -> web.StreamResponse:
        """Raises ``ObjectMoved`` if the image's row names another object by now."""
        if known is not None:
            return await self._from_known(image, known)
        if self._source.holds(image):
            return await self._whole(image, {})
        if self._is_head:
            return await self._after_look(image)
        if self._byte_range is not None:
            return await self._part(image, self._byte_range, forwardable_conditions(self._headers))
        return await self._whole(image, forwardable_conditions(self._headers))

    async def _from_known(
        self, image: SignedImage, known: Entry, status: str | None = None, *, may_ask_for_part: bool = True
    ) -> web.StreamResponse:
        """``status`` is that of what was learnt this moment; None: it was known before."""
        plan = self._plan(image.record, known.metadata)
        if self._is_head or plan is NOT_MODIFIED:
            if status is None:
                return self._bodyless(image.record, plan, known.metadata, self._hit(known), known)
            return self._bodyless(image.record, plan, known.metadata, status)
        if known.body is not None:
            return await self._from_memory(image.record, plan, known, known.body, status)
        if plan.status == 206 and may_ask_for_part and not self._source.keeps(known.metadata):
            return await self._part(image, f"bytes={plan.first}-{plan.last}", {})
        return await self._whole(image, {})

    async def _after_look(self, image: SignedImage, *, may_ask_for_part: bool = True) -> web.StreamResponse:
        renewed, known = await self._source.look(image)
        image = await self._still_seen(image, renewed)
        status = cache_status.forwarded(200)
        return await self._from_known(image, known, status, may_ask_for_part=may_ask_for_part)

    async def _part(self, image: SignedImage, byte_range: str, conditions: Mapping[str, str]) -> web.StreamResponse:
        try:
            renewed, body = await self._source.part(image, byte_range, conditions)
        except RangeNotSatisfiable:
            # Neither the size nor whether If-Range lets the range apply need be told with a 416 of COS. If HEAD then
            # tells of another size than GET, to ask for the part again would lead back here.
            return await self._after_look(image, may_ask_for_part=False)
        try:
            image = await self._still_seen(image, renewed)
            answer = await self._from_part(image.record, body)
        finally:
            body.close()
        # The client's copy is of another version: it needs the whole image.
        return answer if answer is not None else await self._whole(image, {})

    async def _from_part(self, record: ImageRecord, body: ObjectBody) -> web.StreamResponse | None:
        status = cache_status.forwarded(body.status)
        plan = NOT_MODIFIED if body.status == 304 else self._plan(record, body.metadata)
        if plan is NOT_MODIFIED:
            return self._bodyless(record, plan, body.metadata, status)
        covered = body.content_range
        if body.status == 200:  # COS may ignore a range (RFC 9110 section 14.2), and so may we
            return await self._send(record, WHOLE, body.metadata, body, status)
        if covered is None or (plan.status, plan.first, plan.last) != (206, covered.first, covered.last):
            return None
        return await self._send(record, plan, body.metadata, body, status)

    async def answer_with(
        self, image: SignedImage, renewed: SignedImage | None, found: Reader | Kept
    ) -> web.StreamResponse:
        """As ``answer``, with what the source gave for the whole object."""
        if isinstance(found, Kept):
            known = found.entry
            image = await self._still_seen(image, renewed)
            plan = self._plan(image.record, known.metadata)
            status = cache_status.revalidated(found.status)
            if self._is_head or plan is NOT_MODIFIED:
                return self._bodyless(image.record, plan, known.metadata, status, known)
            return await self._from_memory(image.record, plan, known, found.body, status)
        try:
            image = await self._still_seen(image, renewed)
            return await self._from_reader(image.record, found)
        finally:
            found.close()

    async def _whole(self, image: SignedImage, conditions: Mapping[str, str]) -> web.StreamResponse:
        renewed, found = await self._source.whole(image, conditions)
        return await self.answer_with(image, renewed, found)

    async def _from_reader(self, record: ImageRecord, reader: Reader) -> web.StreamResponse:
        transfer = reader.transfer
        body = transfer.body
        status = status_of(reader)
        plan = NOT_MODIFIED if body.status == 304 else self._plan(record, body.metadata)
        if self._is_head or plan is NOT_MODIFIED:
            return self._bodyless(record, plan, body.metadata, status)
        if plan.status == 206 and transfer.keeps_all:
            try:
                whole = await transfer.finished()
            except BodyLost as error:
                raise OriginUnavailable(str(error)) from error
            return await self._ready(record, plan, body.metadata, status, _cut_out(whole, plan))
        # A range of what turned out too large to be kept is answered with the whole: RFC 9110 section 14.2.
        return await self._send(record, WHOLE, body.metadata, reader, status)

    async def _send(
        self, record: ImageRecord, plan: Plan, metadata: ObjectMetadata, body: Body, status: str
    ) -> web.StreamResponse:
        length = metadata.size if plan.last is None else plan.last - plan.first + 1
        if length is not None and length <= SMALL_BODY:
            return await self._ready(record, plan, metadata, status, await all_of(body))
        headers = self._image_headers(record, plan, metadata, status)
        return await self._relay.send(self._exchange, body, headers, status=plan.status, length=length)

    def _from_memory(
        self, record: ImageRecord, plan: Plan, known: Entry, body: bytes, status: str | None = None
    ) -> Awaitable[web.StreamResponse]:
        """The bytes at hand; ``status`` None: without asking COS."""
        age = f"Age: {int(self._source.age(known))}\r\n"  # RFC 9111 section 5.1
        return self._ready(record, plan, known.metadata, status or self._hit(known), _cut_out(body, plan), age)

    def _ready(
        self, record: ImageRecord, plan: Plan, metadata: ObjectMetadata, status: str, body: bytes, more: str = ""
    ) -> Awaitable[web.StreamResponse]:
        fixed = image_fields(record, metadata, self._policy, self._exchange.wanted.download)
        covered = "" if plan.last is None else f"Content-Range: {_covered(plan, metadata)}\r\n"
        own = f"Cache-Status: {status}\r\n{covered}{more}"
        return self._relay.send_prepared(self._exchange, fixed, own, body, plan.status)

    def _plan(self, record: ImageRecord, metadata: ObjectMetadata) -> Plan:
        """Raises ``NotAnImage`` first: conditions of what would be an error do not count (RFC 9110 section 13.2.1)."""
        content_type_of(record.content_type, metadata.content_type)
        return plan_for(self._headers, self._byte_range, metadata)

    def _hit(self, known: Entry) -> str:
        return cache_status.hit(self._source.freshness(known))

    def _bodyless(
        self, record: ImageRecord, plan: Plan, metadata: ObjectMetadata, status: str, known: Entry | None = None
    ) -> web.StreamResponse:
        """The headers alone; ``known`` if the facts are from memory."""
        headers = self._image_headers(record, plan, metadata, status)
        if known is not None:
            headers["Age"] = str(int(self._source.age(known)))  # RFC 9111 section 5.1
        if plan.status == 200 and metadata.size is not None:
            headers["Content-Length"] = str(metadata.size)
        return web.Response(status=plan.status, headers=headers)

    def _image_headers(
        self, record: ImageRecord, plan: Plan, metadata: ObjectMetadata, status: str
    ) -> "CIMultiDict[str]":
        download, with_body = self._exchange.wanted.download, plan is not NOT_MODIFIED
        headers = image_headers(record, metadata, self._policy, download=download, with_body=with_body)
        headers["Cache-Status"] = status
        if plan.status == 206:
            headers["Content-Range"] = _covered(plan, metadata)
        return headers

    async def _still_seen(self, image: SignedImage, renewed: SignedImage | None) -> SignedImage:
        """The image as this caller may see it now; a renewed URL may be that of a row that has changed."""
        if renewed is None or renewed.record == image.record:
            return image
        again = await self._exchange.view_again()
        if again.object_id != image.object_id:
            raise ObjectMoved
        return again


def status_of(reader: Reader) -> str:
    """Its Cache-Status."""
    transfer = reader.transfer
    return cache_status.forwarded(transfer.body.status, transfer.keeps_all, reader.is_collapsed, reader.had_stale)


def _cut_out(body: bytes, plan: Plan) -> bytes:
    return body if plan.last is None else body[plan.first : plan.last + 1]


def _covered(plan: Plan, metadata: ObjectMetadata) -> str:
    return f"bytes {plan.first}-{plan.last}/{metadata.size}"
