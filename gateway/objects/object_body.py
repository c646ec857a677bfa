"""The body of an object on its way from COS: its URL is renewed if COS refuses it, and a lost connection resumed."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from gateway import errors
from gateway.objects.object_cache import ObjectCache
from gateway.objects.renew_on_refusal import Renewal, renewed_image
from gateway.objects.transfer_state import BodyState, ResumptionLimits
from gateway.origin.client import OriginClient
from gateway.origin.cos_errors import BodyLost, ObjectReplaced, PresignedUrlRefused, RowChanged
from gateway.origin.failures import FailedObjects
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import AnswerHead, ObjectMetadata, OriginResponse
from gateway.presign.signer import AuthorizedImage, PresignedUrl, SignedImage
from gateway.settings import Live

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OriginAccess:
    """The services and settings by which each ``ObjectBody`` reads from COS.

    renew: renews the URL of the image. Gets COS's time in Unix seconds if it may explain the refusal, else None.
    """

    client: OriginClient
    failures: FailedObjects
    memory: ObjectCache
    renew: Callable[[SignedImage, float | None], Awaitable[SignedImage]]
    sign_for_head: Callable[[SignedImage], PresignedUrl]
    metrics: OriginMetrics
    resumption: Live[ResumptionLimits]


class ObjectBody:
    """Reads the body of one version of an image's object from COS, from the request to the last byte.

    A URL that COS refuses is renewed, and a lost connection resumed, as ``Renewal`` and ``BodyState`` say. ``image`` is
    then the image on the new URL. The renewal reads the row again, and COS is asked for nothing of a row that has
    changed since access was checked (``RowChanged``).

    requested_at: when the body was asked for (seconds of ``boot_time``). Answers of COS count from then.
    state: once the body is open.
    """

    __slots__ = ("_access", "_response", "image", "object_id", "requested_at", "state")

    state: BodyState
    _response: OriginResponse

    def __init__(self, access: OriginAccess, image: AuthorizedImage) -> None:
        self.object_id = image.named or image.object_id
        self.image = image
        self.requested_at = access.memory.now()
        self._access = access

    async def open(self, headers: Mapping[str, str], method: str = "GET") -> AnswerHead:
        """Request the object. A cancelled call may be repeated. Raises as ``OriginClient.fetch`` and ``Renewal``."""
        access = self._access
        if access.failures.by_object:
            access.failures.check(self.image)
        known = access.memory.known(self.image)
        response = await self._fetch(headers, method)
        if known is not None and response.head.status != 304 and response.head.metadata.contradicts(known):
            response = await self._ask_again(response, known, headers, method)
        self._response = response
        self.state = BodyState(access.resumption.value, response.head)
        return response.head

    async def read(self) -> bytes:
        """Return the next bytes, which are empty at the end. Cancelling a call loses nothing.

        Raises ``BodyLost`` without the rest, or if COS announced another whole, and ``RowChanged`` as the class says.
        """
        while not self.state.is_over:
            try:
                piece = await self._response.read()
                self._arrived(piece)
            except BodyLost as loss:
                try:
                    if not await self._resume(loss):
                        raise
                except BodyLost as error:
                    self._lost(error)
                    raise
            else:
                return piece
        return b""

    async def read_whole(self) -> bytes:
        pieces = [await self.read()]
        while pieces[-1]:
            pieces.append(await self.read())
        return b"".join(pieces)

    def read_nowait(self) -> bytes:
        """Return the bytes that have arrived, empty if none. Raises ``BodyLost`` as ``read`` does."""
        if piece := self._response.read_nowait():
            try:
                self._arrived(piece)
            except BodyLost as loss:
                self._lost(loss)
                raise
        return piece

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        self._response.suit(has_unsent=has_unsent, is_blocked=is_blocked)

    async def rest(self, position: int) -> Self:
        """Return a body of the bytes from ``position`` on, over a new connection. Raises what ``read`` raises."""
        rest = copy.copy(self)
        rest.state = self.state.branch(position)
        try:
            await rest._request_rest()  # noqa: SLF001 - its own class
        except BodyLost:  # not remembered: others may still get the whole
            self._access.client.observed.body_lost(self.object_id.bucket)
            raise
        return rest

    def close(self) -> None:
        if self.state.received != self.state.length:  # else the connection has been given back already
            self._response.close()

    def _arrived(self, piece: bytes) -> None:
        self.state.arrived(piece)
        failures = self._access.failures
        if failures.by_object and self.state.is_over:
            failures.completed(self.object_id)

    async def _fetch(self, headers: Mapping[str, str], method: str = "GET", *, is_sent: bool = False) -> OriginResponse:
        """Request the object by its URL, and again by a renewed URL as ``Renewal`` says."""
        access, renewal, is_renewed = self._access, Renewal(), False
        try:
            while True:
                try:
                    response = await self._fetch_once(headers, method, is_renewed=is_renewed)
                except PresignedUrlRefused as refusal:
                    cos_time, image_id = renewal.refused(refusal, self.image.presigned), self.image.record.image_id
                    logger.debug("COS refused a URL, renewing it: image=%s reason=%s", image_id, refusal)
                    try:
                        renewed = await access.renew(self.image, cos_time)
                    except errors.ImageNotFound as error:
                        raise RowChanged("the row is gone") from error
                    self.image, is_renewed = renewed_image(self.image, renewed, is_sent=is_sent), True
                else:
                    if access.failures.by_object:
                        access.failures.opened(self.object_id)
                    return response
        except errors.GatewayError as error:
            self._remember(error, is_of_body=is_sent)
            if isinstance(error, errors.ImageNotFound | errors.ImageBlocked):
                logger.debug("COS has no such object: image=%s reason=%s", self.image.record.image_id, error)
                access.memory.discard(self.object_id)
            raise

    async def _ask_again(
        self, first: OriginResponse, known: ObjectMetadata, headers: Mapping[str, str], method: str
    ) -> OriginResponse:
        """Ask again about a version that is not known: a faulty box may have sent the answer to another request.

        A version that COS sends twice is the new one, which the application has written over the object. Raises
        ``OriginUnavailable`` if COS sends a third version, and what ``_fetch`` raises.
        """
        first.close()  # with its connection
        logger.info("COS sends another version than is known, asking again: image=%s", self.image.record.image_id)
        again = await self._fetch(headers, method)
        answered, sent = again.head.metadata, first.head.metadata
        if again.head.status != 304 and answered.contradicts(known) and answered.contradicts(sent):
            again.close()
            raise errors.OriginUnavailable("COS sends one version of the object after another")
        return again

    async def _fetch_once(self, headers: Mapping[str, str], method: str, *, is_renewed: bool) -> OriginResponse:
        client, url, bucket = self._access.client, self.image.presigned.url, self.object_id.bucket
        if method != "HEAD":
            return await client.fetch(url, bucket, method, headers, is_processed=self.object_id.rendition is not None)
        # COS refuses HEAD on a URL signed for GET. No header is signed, so any may be sent to any URL.
        try:
            return await client.fetch(self._access.sign_for_head(self.image).url, bucket, method, headers)
        except (PresignedUrlRefused, errors.ImageNotFound, errors.OriginRejected) as error:
            refusal = error
        # COS's error to a HEAD has no body, hence no code: a GET of the first byte is refused for the same reason, or
        # tells what HEAD would, which the credentials may not cover.
        try:
            response = await client.fetch(url, bucket, "GET", {"Range": "bytes=0-0"})
        except errors.RangeNotSatisfiable:  # an empty object
            response = await client.fetch(url, bucket, "GET", {})
        if isinstance(refusal, PresignedUrlRefused) and not is_renewed:
            response.close()
            raise refusal
        return response

    def _remember(self, error: errors.GatewayError, *, is_of_body: bool = False) -> None:
        self._access.failures.failed(self.object_id, error, self.requested_at, is_of_body=is_of_body)

    def _lost(self, loss: BodyLost) -> None:
        self._access.client.observed.body_lost(self.object_id.bucket)
        # ``_fetch`` has remembered COS's errors. A replaced object is none.
        if not isinstance(loss.__cause__, errors.GatewayError | ObjectReplaced):
            self._remember(errors.OriginUnavailable(str(loss)), is_of_body=True)

    async def _resume(self, loss: BodyLost) -> bool:
        """Request the rest of a lost body. Return False if that may not be tried.

        ``loss`` is not raised here: an exception that is a local of a frame in its traceback is a reference cycle.
        """
        if (pause := self.state.lost(loss)) is None:
            return False
        self._response.close()
        if pause:
            await asyncio.sleep(pause)
        self._access.metrics.origin_resumes.inc()
        logger.debug("resuming: %s", loss)
        await self._request_rest()
        return True

    async def _request_rest(self) -> None:
        state = self.state
        try:
            response = await self._fetch(state.rest(), is_sent=True)
        except (errors.GatewayError, ObjectReplaced) as error:
            raise BodyLost(f"after {state.received} bytes, the rest: {type(error).__name__}") from error
        try:
            state.resumed(response.head)
        except BodyLost:
            response.close()
            raise
        self._response = response
