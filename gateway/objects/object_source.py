"""The objects of images: from memory, from a transfer that another request started, or from COS."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.concurrency.single_flight import SingleFlight
from gateway.errors import OriginTimeout, OriginUnavailable, RangeNotSatisfiable, Unavailable, without_traceback
from gateway.objects.content import Content
from gateway.objects.object_body import ObjectBody, OriginAccess
from gateway.objects.object_cache import Entry
from gateway.objects.transfer_state import Budget, BufferLimits, Need, Piece, TransferState
from gateway.objects.variant_source import VariantSource
from gateway.origin.client import MOST_UNATTENDED
from gateway.origin.cos_errors import BodyLost
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import AuthorizedImage, ObjectId

_NO_CONDITIONS: Final[Mapping[str, str]] = {}
# For how many seconds bytes in memory may replace those of a COS that fails; caches downstream get the same limit in
# ``stale-if-error`` (RFC 5861).
_STALE_IF_ERROR: Final = 86_400
# For how many seconds a transfer that runs is joined as one that begins, whatever ``memory_cache.ttl`` is.
_NEW_FOR: Final = 1.0
# Failures of COS, and not of the image.
_COS_FAILURES: Final = (OriginUnavailable, OriginTimeout, Unavailable)
# The object, and the conditional header fields that COS was sent.
TransferKey = tuple[ObjectId, tuple[tuple[str, str], ...]]


@dataclass(slots=True, eq=False)
class SharedTransfer:
    """A transfer of one body from COS for any number of readers (requests of clients), as ``TransferState`` says.

    There is no pace but the readers': the one whose turn it is requests and reads. Only a second request, after the
    reader of the first has left, is a task.
    """

    owner: "ObjectSource"
    key: TransferKey
    body: ObjectBody
    conditions: Mapping[str, str]
    state: TransferState = field(init=False)
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)
    _was_left: bool = False
    _opening: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.state = TransferState(self.owner.limits)

    async def join(self, *, is_collapsed: bool) -> "Reader":
        """Return one more reader, from the first byte, once COS has answered. Raises as ``ObjectBody.open``."""
        self.state.readers += 1
        try:
            while self.state.body is None:
                await self.advance(self.state.turn())
        except BaseException:
            self.leave()
            raise
        return Reader(self, is_collapsed)

    def leave(self) -> None:
        """Take a reader off. The last reader stops the transfer, or ends the time in which it is kept for others."""
        # As two leave one after the other, the body may come while nobody has the turn.
        if self.state.left() or (not self.state.readers and self.owner.runs(self)):
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
                await self._ask()
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
            if (state.is_over and not state.is_lingering) or state.failure is not None:
                self._finish()

    async def _ask(self) -> None:
        """Ask COS. A request that hangs ends with its reader, but once: the second goes on for those who wait."""
        if self._was_left:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open(), name="open a shared transfer")
            await asyncio.shield(self._opening)
            return
        try:
            await self._open()
        except asyncio.CancelledError:
            self._was_left = True
            raise

    async def _open(self) -> None:
        state, owner = self.state, self.owner
        await self.body.open(self.conditions)
        body = self.body.state
        state.opened(body, owner.answered(self), owner.shared_prefixes)
        if not body.is_over and body.length is not None and body.length <= owner.limits.at_once:
            try:
                state.arrived(self.body.read_nowait())
            except BodyLost as error:  # readers get it with the next piece
                state.ended(without_traceback(error))

    def _finish(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None  # its error leads to this transfer
        if self.state.body is not None:
            self.body.close()
        self.owner.finished(self)


@dataclass(slots=True, eq=False)
class Reader:
    """One request's position in a shared transfer from COS. It must be closed.

    ``is_collapsed``: the transfer was started for another request.
    """

    transfer: "SharedTransfer"
    is_collapsed: bool
    _next: int = 0
    _position: int = 0
    _own_body: ObjectBody | None = None
    _has_left: bool = False

    async def read(self) -> Piece:
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
        state = self.transfer.state
        while not state.is_over:
            await self.transfer.advance(state.turn())
        return state.whole or b""

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        # Of several readers the fastest sets the pace: a blocked reader must not hold back what another one waits for.
        own, transfer = self._own_body, self.transfer
        is_alone = own is not None or transfer.state.readers == 1
        (own or transfer.body).suit(has_unsent=has_unsent and is_alone, is_blocked=is_blocked and is_alone)

    def close(self) -> None:
        if self._own_body is not None:
            self._own_body.close()
        if not self._has_left:
            self._leave()

    def _leave(self) -> None:
        self._has_left = True
        self.transfer.leave()


class ObjectSource:
    """Gets the content of images from memory or COS. Requests for an object at the same time share a request to COS.

    Bodies that ``memory`` accepts are kept whole while they arrive and stored there at their end. Together they hold
    at most ``memory_cache.max_bytes``.

    kept: the bytes of bodies that are kept whole.
    shared_prefixes: the bytes that other transfers keep for readers that join late.
    """

    def __init__(self, access: OriginAccess, variants: VariantSource, limits: BufferLimits | None = None) -> None:
        self.memory = access.memory
        self.limits = limits or BufferLimits()
        self.shared_prefixes = Budget(self.limits.shared_prefixes)
        self.kept = Budget(access.memory.settings.value.max_bytes)
        self._access = access
        self._variants = variants
        self._running: dict[TransferKey, SharedTransfer] = {}
        coalesced = access.metrics.coalesced_requests
        self._heads: SingleFlight[tuple[ObjectId, float], Content] = SingleFlight(
            "head", coalesced, cancel_without_callers=True
        )
        self._revalidations: SingleFlight[ObjectId, None] = SingleFlight("revalidation", coalesced)

    async def join(self, image: AuthorizedImage, conditions: Mapping[str, str]) -> Reader:
        """Return a reader of the whole object, which the caller closes. Raises the errors of ``ObjectBody.open``."""
        key = (image.named or image.object_id, tuple(conditions.items()) if conditions else ())
        transfer, ttl = self._running.get(key), self.memory.settings.value.ttl
        is_joinable = (
            transfer is not None
            and transfer.state.is_joinable
            and transfer.body.requested_at > self.memory.changed_at(image.record.image_id)
            and (
                transfer.state.body is None  # COS has not answered
                or self._age(transfer) < (ttl if transfer.state.is_over else max(ttl, _NEW_FOR))
            )
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
        body, memory, head = transfer.body, self.memory, transfer.body.state.head
        memory.answered(body.object_id, head.status, head.metadata, body.requested_at)
        self.kept.most = memory.settings.value.max_bytes  # running transfers keep what they have taken
        is_kept = head.status == 200 and body.state.is_resumable and memory.accepts(body.state.length)
        return self.kept if is_kept else None

    def runs(self, transfer: SharedTransfer) -> bool:
        """Return whether others may join the transfer."""
        return self._running.get(transfer.key) is transfer

    def finished(self, transfer: SharedTransfer) -> None:
        """Forget the transfer, and store its body if it was kept whole."""
        if self.runs(transfer):
            del self._running[transfer.key]
        body, state = transfer.body, transfer.state
        if state.is_over and state.keeps_all:
            self.memory.update(body.object_id, body.state.head.metadata, body.requested_at, state.whole)

    def revalidate(self, image: AuthorizedImage) -> None:
        """Ask COS about old bytes in use (stale-while-revalidate). While many are asked about, the next request may."""
        entry = self.memory.get(image)
        if entry is not None and len(self._revalidations) < MOST_UNATTENDED:
            self._revalidations.start(image.object_id, lambda: self._revalidate_unattended(image, entry))

    async def from_cos(
        self, image: AuthorizedImage, conditions: Mapping[str, str], byte_range: str | None = None, *, is_head: bool
    ) -> Content:
        """Ask COS for the image, for a part of it, or only for its metadata. ``conditions`` may make COS answer 304.

        Bytes in memory are used if COS confirms them, or if COS fails. Raises the errors of ``ObjectBody.open``.
        """
        stale = self.memory.get(image)
        if stale is not None and stale.body is not None:
            return await self._revalidated(image, stale, stale.body)
        if image.rendition is not None:
            return await self._rendition(image, stale)
        if is_head:
            return await self.head(image)
        if byte_range is not None:
            return await self._part(image, byte_range, conditions)
        return await self.whole(image, conditions)

    async def rest_from_cos(self, content: Content, byte_range: str | None) -> Content:
        """Fetch the bytes of an image of which only the metadata, or another part, is known. Raises as ``from_cos``."""
        image = content.image
        if image.rendition is not None:
            return await self._rendition(image, None)
        # COS may answer a HEAD, or a GET of a part, unlike a GET of the whole: it is not asked for parts again.
        if byte_range is not None and content.fresh_for is not None and not self.keeps(content.metadata):
            return await self._part(image, byte_range, _NO_CONDITIONS)
        return await self.whole(image)

    def keeps(self, metadata: ObjectMetadata) -> bool:
        """Return whether such an object is fetched whole, so that every range of it can be served from memory."""
        return metadata.strong_etag is not None and self.memory.accepts(metadata.size)

    async def head(self, image: AuthorizedImage) -> Content:
        """Return the metadata that COS sends in answer to a HEAD. Raises what ``ObjectBody.open`` raises."""
        # Requests after a change of the image do not share the answer to one before.
        key = image.object_id, self.memory.changed_at(image.record.image_id)
        return (await self._heads.run(key, lambda: self._head(image))).of(image)

    async def whole(self, image: AuthorizedImage, conditions: Mapping[str, str] = _NO_CONDITIONS) -> Content:
        """Return all bytes, if they came with the header, or a reader of them. Raises as ``ObjectBody.open``."""
        reader = await self.join(image, conditions)
        head, state = reader.transfer.body.state.head, reader.transfer.state
        renewed = reader.transfer.body.image
        if (renewed.record, renewed.public) == (image.record, image.public):  # as in ``Content.of``
            image = renewed
        content = Content(image, head.metadata, head.status, is_collapsed=reader.is_collapsed)
        content.is_stored = state.keeps_all
        age = self._age(reader.transfer)
        if state.is_lingering or (reader.is_collapsed and age >= _NEW_FOR):
            content.age = age
        if state.whole is not None and head.has_body:
            content.data = state.whole
            reader.close()
        else:
            content.body = reader
        return content

    def _age(self, transfer: SharedTransfer) -> float:
        """Return the seconds since the body was requested from COS."""
        return self.memory.now() - transfer.body.requested_at

    async def _rendition(self, image: AuthorizedImage, stale: Entry | None) -> Content:
        content = await self._variants.fetch(image, stale)
        return content if content is not None else await self.whole(image)

    async def _revalidated(self, image: AuthorizedImage, stale: Entry, data: bytes) -> Content:
        """Ask COS whether ``data`` is still current. Failures of COS are raised only once the bytes are a day old."""
        try:
            if image.rendition is not None:
                return await self._rendition(image, stale)
            content = await self.whole(image, {"If-None-Match": stale.metadata.etag or ""})
            if content.status == 304:
                if content.body is not None:
                    content.body.close()
                if content.metadata.confirm(stale.metadata):
                    return self.memory.kept(content.image, stale, data, 304)
                content = await self.whole(image)
        except _COS_FAILURES:
            if self.memory.age(stale) >= _STALE_IF_ERROR:
                raise
            return self.memory.kept(image, stale, data, None)
        content.had_stale = True
        return content

    async def _part(self, image: AuthorizedImage, byte_range: str, conditions: Mapping[str, str]) -> Content:
        """Return one range of the object, on a separate transfer, or only the metadata if there is no such range."""
        body = ObjectBody(self._access, image)
        try:
            head = await body.open({**conditions, "Range": byte_range})
        except RangeNotSatisfiable:
            # A 416 of COS may lack the size, and does not say whether If-Range lets the range apply.
            return await self.head(image)
        if head.status == 206:
            self.memory.answered(body.object_id, head.status, head.metadata, body.requested_at)
        return Content(body.image, head.metadata, head.status, body=body, covered=head.content_range)

    async def _head(self, image: AuthorizedImage) -> Content:
        body = ObjectBody(self._access, image)
        head = await body.open(_NO_CONDITIONS, "HEAD")
        body.close()
        entry = self.memory.update(body.object_id, head.metadata, body.requested_at)
        return Content(body.image, entry.metadata, 200, entry.body, age=None if entry.body is None else 0.0)

    async def _revalidate_unattended(self, image: AuthorizedImage, stale: Entry) -> None:
        if stale.body is None:  # memory has dropped it meanwhile
            return
        content = await self._revalidated(image, stale, stale.body)
        try:
            if content.body is not None and content.is_stored:
                await content.body.read_whole()
        finally:
            if content.body is not None:
                content.body.close()

    async def close(self) -> None:
        """Stop the work that no request waits for."""
        await self._revalidations.close()
        await self._heads.close()
        await self._variants.close()
