"""Transfers of objects from COS, over as many URLs and connections as it takes, for any number of requests each."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from aiohttp import hdrs

from gateway.errors import (
    GatewayError,
    ImageBlocked,
    ImageNotFound,
    OriginRejected,
    OriginUnavailable,
    RangeNotSatisfiable,
)
from gateway.origin.client import OriginClient
from gateway.origin.errors import BodyLost, PresignedUrlRefused, RowChanged, VersionChanged
from gateway.origin.failures import FailedObjects
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import AnswerHead, ObjectMetadata, OriginResponse
from gateway.origin.transfer_state import (
    BodyState,
    Budget,
    BufferLimits,
    Need,
    Piece,
    Renewal,
    ResumptionLimits,
    TransferState,
    renewed_image,
)
from gateway.presign.signed_image import AuthorizedImage, ObjectId, PresignedUrl, SignedImage
from gateway.settings import Live

logger = logging.getLogger(__name__)

# The object, and the conditional header fields that COS was sent.
TransferKey = tuple[ObjectId, tuple[tuple[str, str], ...]]
# Renews the URL of the image. The float is COS's time in Unix seconds if it may explain the refusal, else None.
Renew = Callable[[SignedImage, float | None], Awaitable[SignedImage]]
SignForHead = Callable[[SignedImage], PresignedUrl]


@dataclass(slots=True)
class OriginAccess:
    """Collaborators of every ``ObjectBody``."""

    client: OriginClient
    failures: FailedObjects
    memory: ObjectCache
    renew: Renew
    sign_for_head: SignForHead
    metrics: OriginMetrics
    resumption: Live[ResumptionLimits]


class ObjectBody:
    """The body of one version of an image's object, from the request to COS to the last byte.

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

    async def open(self, headers: Mapping[str, str], method: str = hdrs.METH_GET) -> AnswerHead:
        """Request the object. A call that was cancelled may be repeated.

        Raises what ``OriginClient.fetch`` and ``Renew`` raise, ``OriginRefused`` when the renewed URL is refused as
        well, and ``RowChanged``.
        """
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
        """Return the next bytes, which are empty at the end.

        Raises ``BodyLost`` when the rest cannot be had or the whole is not what COS announced (``BodyState.arrived``),
        and ``RowChanged`` when the rest must not be requested. Cancelling a call loses nothing.
        """
        while not self.state.is_over:
            try:
                piece = await self._response.read()
                self._arrived(piece)
            except BodyLost as loss:
                if not await self._resume(loss):
                    self._lost(loss)
                    raise
            else:
                return piece
        return b""

    async def read_whole(self) -> bytes:
        """Return all bytes. Raises what ``read`` raises."""
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
        """Adapt the size of reads to the client: ``OriginResponse.suit``."""
        self._response.suit(has_unsent=has_unsent, is_blocked=is_blocked)

    async def rest(self, position: int) -> Self:
        """Return a body of the bytes from ``position`` on, over a new connection. Raises what ``read`` raises."""
        rest = copy.copy(self)
        rest.state = self.state.branch(position)
        await rest._request_rest()  # noqa: SLF001 - its own class
        return rest

    def close(self) -> None:
        """Stop the transfer, unless it is over."""
        if self.state.received != self.state.length:  # else the connection has been given back already
            self._response.close()

    def _arrived(self, piece: bytes) -> None:
        self.state.arrived(piece)
        failures = self._access.failures
        if failures.by_object and self.state.is_over:
            failures.completed(self.object_id)

    async def _fetch(
        self, headers: Mapping[str, str], method: str = hdrs.METH_GET, *, is_sent: bool = False
    ) -> OriginResponse:
        """Request the object by its URL, and again by a renewed URL as ``Renewal`` says."""
        access, renewal = self._access, Renewal()
        try:
            while True:
                try:
                    response = await self._fetch_once(headers, method)
                except PresignedUrlRefused as refusal:
                    cos_time = renewal.refused(refusal, self.image.presigned)
                    image_id = self.image.record.image_id
                    logger.debug("COS refused a URL, renewing it: image=%s reason=%s", image_id, refusal)
                    self.image = renewed_image(self.image, await self._renewed(cos_time), is_sent=is_sent)
                else:
                    if access.failures.by_object:
                        access.failures.opened(self.object_id)
                    return response
        except GatewayError as error:
            self._remember(error)
            if isinstance(error, ImageNotFound | ImageBlocked):
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
        if again.head.metadata.contradicts(known) and again.head.metadata.contradicts(first.head.metadata):
            again.close()
            raise OriginUnavailable("COS sends one version of the object after another")
        return again

    async def _renewed(self, cos_time: float | None) -> SignedImage:
        try:
            return await self._access.renew(self.image, cos_time)
        except ImageNotFound as error:
            raise RowChanged("the row is gone") from error

    async def _fetch_once(self, headers: Mapping[str, str], method: str) -> OriginResponse:
        client, url, bucket = self._access.client, self.image.presigned.url, self.object_id.bucket
        if method != hdrs.METH_HEAD:
            is_processed = self.object_id.rendition is not None
            return await client.fetch(url, bucket, method, headers, is_processed=is_processed)
        # COS refuses HEAD on a URL signed for GET. No header is signed, so any may be sent to any URL.
        try:
            return await client.fetch(self._access.sign_for_head(self.image).url, bucket, method, headers)
        except (PresignedUrlRefused, ImageNotFound, OriginRejected) as error:
            refusal = error
        # COS's error to a HEAD has no body, hence no code: a GET of the first byte is refused for the same reason.
        with suppress(RangeNotSatisfiable):  # an empty object, which COS would send
            (await client.fetch(url, bucket, hdrs.METH_GET, {"Range": "bytes=0-0"})).close()
        raise refusal

    def _remember(self, error: GatewayError, *, is_of_body: bool = False) -> None:
        self._access.failures.failed(self.object_id, error, self.requested_at, is_of_body=is_of_body)

    def _lost(self, loss: BodyLost) -> None:
        self._access.client.observed.body_lost(self.object_id.bucket)
        self._remember(OriginUnavailable(str(loss)), is_of_body=True)

    async def _resume(self, loss: BodyLost) -> bool:
        """Request the rest of a lost body. Return False if that may not be tried.

        Raises what ``_request_rest`` raises. It does not raise ``loss`` itself: an exception that is a
        local of a frame in its traceback is a reference cycle.
        """
        pause = self.state.lost(loss)
        if pause is None:
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
        except (GatewayError, VersionChanged) as error:
            raise BodyLost(f"after {state.received} bytes, the rest: {type(error).__name__}") from error
        try:
            state.resumed(response.head)
        except BodyLost:
            response.close()
            raise
        self._response = response


class SharedTransfer:
    """Fetches one body for any number of readers, as ``TransferState`` says.

    There is no task, and no pace but the readers': the one whose turn it is requests and reads.
    """

    __slots__ = ("_conditions", "_owner", "_waiting", "body", "key", "state")

    def __init__(
        self, owner: "SharedTransfers", key: TransferKey, body: ObjectBody, conditions: Mapping[str, str]
    ) -> None:
        self.key = key
        self.body = body
        self.state = TransferState(owner.limits)
        self._conditions = conditions
        self._owner = owner
        self._waiting: list[asyncio.Future[None]] = []

    async def join(self, *, is_collapsed: bool) -> "Reader":
        """Return one more reader, from the first byte, once COS has answered.

        ``is_collapsed``: the transfer was started for another request. Raises what ``ObjectBody.open`` raises.
        """
        state = self.state
        state.readers += 1
        try:
            while state.body is None:
                await self.advance(state.turn())
        except BaseException:
            self.leave()
            raise
        return Reader(self, is_collapsed)

    def leave(self) -> None:
        """Take a reader off. The last reader stops the transfer."""
        if self.state.left():
            self._finish()

    async def advance(self, need: Need) -> None:
        """Read from COS, or wait while another reader does. Raises what ``ObjectBody`` raises."""
        if need is Need.WAIT:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
            return
        state = self.state
        try:
            if state.body is None:
                await self._open()
            else:
                state.arrived(await self.body.read())
        except Exception as error:
            state.ended(error)
            raise
        finally:
            state.passed()
            for turn in self._waiting:
                if not turn.done():
                    turn.set_result(None)
            self._waiting = []
            if state.is_over or state.failure is not None:
                self._finish()

    async def _open(self) -> None:
        state, owner = self.state, self._owner
        await self.body.open(self._conditions)
        body = self.body.state
        state.opened(body, owner.answered(self), owner.beginnings)
        if not body.is_over and body.length is not None and body.length <= owner.limits.at_once:
            try:
                state.arrived(self.body.read_nowait())
            except BodyLost as error:  # readers get it with the next piece
                state.ended(error.with_traceback(None))

    def _finish(self) -> None:
        if self.state.body is not None:
            self.body.close()
        self._owner.finished(self)


class Reader:
    """One reader's position in a transfer. It must be closed.

    ``is_collapsed``: the transfer was started for another request.
    """

    __slots__ = ("_has_left", "_next", "_own_body", "_position", "is_collapsed", "transfer")

    def __init__(self, transfer: SharedTransfer, is_collapsed: bool) -> None:
        self.transfer = transfer
        self.is_collapsed = is_collapsed
        self._next = 0
        self._position = 0
        self._own_body: ObjectBody | None = None
        self._has_left = False

    async def read(self) -> Piece:
        """Return the next bytes, which are empty at the end. Raises what ``ObjectBody.read`` raises."""
        transfer = self.transfer
        while self._own_body is None:
            found = transfer.state.take(self._next)
            if found is Need.REST:
                self._own_body = await transfer.body.rest(self._position)
                self._leave()
            elif isinstance(found, Need):
                await transfer.advance(found)
            else:
                self._next += 1
                self._position += len(found)
                return found
        return await self._own_body.read()

    async def read_whole(self) -> bytes:
        """Return all bytes of a body that is kept whole, or is small enough to be. Raises what ``read`` raises."""
        state = self.transfer.state
        while not state.is_over:
            await self.transfer.advance(state.turn())
        return state.whole or b""

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to the client: ``OriginResponse.suit``.

        Of several readers the fastest sets the pace: a blocked reader must not hold back what another reader waits for.
        """
        own, transfer = self._own_body, self.transfer
        is_alone = own is not None or transfer.state.readers == 1
        (own or transfer.body).suit(has_unsent=has_unsent and is_alone, is_blocked=is_blocked and is_alone)

    def close(self) -> None:
        """Leave the transfer."""
        if self._own_body is not None:
            self._own_body.close()
        if not self._has_left:
            self._leave()

    def _leave(self) -> None:
        self._has_left = True
        self.transfer.leave()


class SharedTransfers:
    """The running transfers: one for all requests of an object with the same conditions.

    Bodies that ``memory`` accepts are kept whole while they arrive and stored there at their end. Together they hold
    at most ``memory_cache.max_bytes``.

    kept: the bytes of bodies that are kept whole.
    beginnings: the bytes that other transfers may keep for readers that join late.
    """

    def __init__(self, access: OriginAccess, limits: BufferLimits | None = None) -> None:
        self.limits = limits or BufferLimits()
        self.beginnings = Budget(self.limits.beginnings)
        self.kept = Budget(access.memory.settings.value.max_bytes)
        self._access = access
        self._running: dict[TransferKey, SharedTransfer] = {}

    async def join(self, image: AuthorizedImage, conditions: Mapping[str, str]) -> Reader:
        """Return a reader of the whole object, which the caller closes.

        ``conditions`` may make COS answer 304 instead. Raises the errors of ``ObjectBody.open``.
        """
        key = (image.named or image.object_id, tuple(conditions.items()) if conditions else ())
        transfer = self._running.get(key)
        is_joinable = (
            transfer is not None
            and transfer.state.is_joinable
            and transfer.body.requested_at > self._access.memory.changed_at(image.record.image_id)
        )
        if transfer is not None and is_joinable:
            self._access.metrics.coalesced_requests.inc()
            reader = await transfer.join(is_collapsed=True)
            if transfer.state.is_shareable:
                return reader
            reader.close()
        transfer = SharedTransfer(self, key, ObjectBody(self._access, image), conditions)
        if not is_joinable:  # else it is only for this request
            self._running[key] = transfer
        return await transfer.join(is_collapsed=False)

    def answered(self, transfer: SharedTransfer) -> Budget | None:
        """Remember COS's metadata. Return the budget for the whole body. None: it is not kept."""
        body, memory = transfer.body, self._access.memory
        head = body.state.head
        memory.answered(body.object_id, head.status, head.metadata, body.requested_at)
        self.kept.most = memory.settings.value.max_bytes  # running transfers keep what they have taken
        is_kept = head.status == 200 and body.state.is_resumable and memory.accepts(body.state.length)
        return self.kept if is_kept else None

    def finished(self, transfer: SharedTransfer) -> None:
        """Forget the transfer, and store its body if it was kept whole."""
        if self._running.get(transfer.key) is transfer:
            del self._running[transfer.key]
        body, state = transfer.body, transfer.state
        if state.is_over and state.keeps_all:
            self._access.memory.update(body.object_id, body.state.head.metadata, body.requested_at, state.whole)
