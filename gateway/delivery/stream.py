"""An image as bytes, whatever of it is wanted; the whole under no condition, as most are, by the shortest way."""

from collections.abc import Awaitable

from aiohttp import web

from gateway.catalog.record import ImageRecord
from gateway.delivery import cache_status
from gateway.delivery.answering import Answering, status_of
from gateway.delivery.exchange import Exchange
from gateway.delivery.headers import CachePolicy, image_fields
from gateway.delivery.relay import SMALL_BODY, Relay
from gateway.errors import OriginUnavailable
from gateway.origin.errors import BodyLost, ObjectMoved
from gateway.origin.memory_cache import Entry
from gateway.origin.object_body import ObjectBody
from gateway.origin.object_source import ObjectSource
from gateway.origin.transfer import Reader
from gateway.presign.presigned_url import SignedImage

_MOST_LOOKS = 3


class ImageStream:
    """Answers requests for images with the objects' bytes."""

    def __init__(self, source: ObjectSource, relay: Relay, policy: CachePolicy) -> None:
        self._source = source
        self._relay = relay
        self._policy = policy

    async def answer(self, exchange: Exchange, image: SignedImage) -> web.StreamResponse:
        """200, 206 or 304.

        Raises what the origin raises, ``NotAnImage``, ``PreconditionFailed``, ``RangeNotSatisfiable`` and what
        ``Relay.send`` raises.
        """
        for _ in range(_MOST_LOOKS):
            known = self._source.known(image)
            try:
                if not exchange.is_plain:
                    return await Answering(self._source, self._relay, self._policy, exchange).answer(image, known)
                if known is not None and known.body is not None:
                    return await self._at_once(exchange, image.record, known, known.body)
                renewed, found = await (self._source.whole(image, {}) if known is None else self._source.fetch(image))
                if renewed is None and isinstance(found, Reader) and _is_small(found.transfer.body):
                    return await self._small(exchange, image.record, found)
                answering = Answering(self._source, self._relay, self._policy, exchange)
                return await answering.answer_with(image, renewed, found)
            except ObjectMoved:
                image = await exchange.view_again()
        raise OriginUnavailable("the image's row changes all the time")

    def _at_once(
        self, exchange: Exchange, record: ImageRecord, known: Entry, body: bytes
    ) -> Awaitable[web.StreamResponse]:
        status, age = cache_status.hit(self._source.freshness(known)), int(self._source.age(known))
        own = f"Cache-Status: {status}\r\nAge: {age}\r\n"  # RFC 9111 section 5.1
        fixed = image_fields(record, known.metadata, self._policy, exchange.wanted.download)
        return self._relay.send_prepared(exchange, fixed, own, body)

    async def _small(self, exchange: Exchange, record: ImageRecord, reader: Reader) -> web.StreamResponse:
        transfer = reader.transfer
        try:
            fixed = image_fields(record, transfer.body.metadata, self._policy, exchange.wanted.download)
            own = f"Cache-Status: {status_of(reader)}\r\n"
            body = transfer.whole if transfer.is_over else await transfer.finished()
        except BodyLost as error:  # nothing was sent yet
            raise OriginUnavailable(str(error)) from error
        finally:
            reader.close()
        return await self._relay.send_prepared(exchange, fixed, own, body)


def _is_small(body: ObjectBody) -> bool:
    """Whether it is a whole object that is read before the first byte of it leaves."""
    return body.status == 200 and body.length is not None and body.length <= SMALL_BODY
