"""Transfers of objects for many requests each: every byte is fetched from COS once."""

import asyncio
from collections.abc import Awaitable, Mapping

from gateway.metrics.collectors import Metrics
from gateway.origin.errors import BodyLost
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.object_body import ObjectBody, OriginAccess
from gateway.origin.transfer_state import Budget, BufferLimits, Need, Piece, TransferState
from gateway.presign.signed_image import AuthorizedImage, ObjectId
from gateway.settings import MemoryCacheSettings

# The object, and the conditional header fields that COS was sent.
TransferKey = tuple[ObjectId, tuple[tuple[str, str], ...]]


class SharedTransfer:
    """Fetches one body for any number of readers, as ``TransferState`` says.

    There is no task, and no pace but the readers': the one whose turn it is requests and reads.

    requested_at: when the transfer was started, in monotonic seconds.
    """

    __slots__ = ("_conditions", "_owner", "_waiting", "body", "key", "requested_at", "state")

    def __init__(
        self,
        owner: "SharedTransfers",
        key: TransferKey,
        body: ObjectBody,
        conditions: Mapping[str, str],
        limits: BufferLimits,
        requested_at: float,
    ) -> None:
        self.key = key
        self.body = body
        self.requested_at = requested_at
        self.state = TransferState(limits)
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
                await self._advance()
        except BaseException:
            self.leave()
            raise
        return Reader(self, is_collapsed)

    async def read_whole(self) -> bytes:
        """Return all bytes of a body that is kept whole, or is small enough to be. Raises what ``piece`` raises."""
        while not self.state.is_over:
            await self._advance()
        return self.state.whole

    async def piece(self, number: int) -> Piece | None:
        """Return the piece of that number, empty after the last. None: it was dropped.

        Raises what ``ObjectBody.read`` raises.
        """
        while True:
            found = self.state.take(number)
            if found is Need.FETCH:
                await self._fetch()
            elif found is Need.WAIT:
                await self._wait()
            else:
                return None if found is Need.REST else found

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to a reader's client: ``OriginResponse.suit``.

        Of several readers the fastest sets the pace: a blocked reader must not hold back what another reader waits for.
        """
        is_alone = self.state.readers == 1
        self.body.suit(has_unsent=has_unsent and is_alone, is_blocked=is_blocked and is_alone)

    def leave(self) -> None:
        """Take a reader off. The last reader stops the transfer."""
        if self.state.left():
            self._finish()

    async def _advance(self) -> None:
        if self.state.turn() is Need.FETCH:
            await self._fetch()
        else:
            await self._wait()

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def _fetch(self) -> None:
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
            waiting, self._waiting = self._waiting, []
            for turn in waiting:
                if not turn.done():
                    turn.set_result(None)
            if state.is_over or state.failure is not None:
                self._finish()

    async def _open(self) -> None:
        state, owner = self.state, self._owner
        body = await self.body.open(self._conditions)
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
        if self._own_body is not None:
            return await self._own_body.read()
        piece = await self.transfer.piece(self._next)
        if piece is None:
            self._own_body = await self.transfer.body.rest(self._position)
            self._leave()
            return await self._own_body.read()
        self._next += 1
        self._position += len(piece)
        return piece

    def read_whole(self) -> Awaitable[bytes]:
        """Return all bytes: ``SharedTransfer.read_whole``."""
        return self.transfer.read_whole()

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to the client: ``OriginResponse.suit``."""
        source = self.transfer if self._own_body is None else self._own_body
        source.suit(has_unsent=has_unsent, is_blocked=is_blocked)

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

    def __init__(
        self,
        access: OriginAccess,
        memory: ObjectCache,
        settings: MemoryCacheSettings,
        metrics: Metrics,
        limits: BufferLimits | None = None,
    ) -> None:
        self.limits = limits or BufferLimits()
        self.kept = Budget(settings.max_bytes)
        self.beginnings = Budget(self.limits.beginnings)
        self._access = access
        self._memory = memory
        self._coalesced = metrics.coalesced_requests
        self._running: dict[TransferKey, SharedTransfer] = {}

    def configure(self, settings: MemoryCacheSettings) -> None:
        """Keep within these limits from now on. Running transfers keep what was reserved for them."""
        self.kept.most = settings.max_bytes

    async def join(self, image: AuthorizedImage, conditions: Mapping[str, str]) -> Reader:
        """Return a reader of the whole object, which the caller closes: of the running transfer, or of a new one.

        ``conditions`` may make COS answer 304 instead. Raises the errors of ``ObjectBody.open``.
        """
        key = (image.named or image.object_id, tuple(conditions.items()) if conditions else ())
        memory = self._memory
        transfer = self._running.get(key)
        is_joinable = (
            transfer is not None
            and transfer.state.is_joinable
            and transfer.requested_at > memory.changed_at(image.record.image_id)
        )
        if transfer is not None and is_joinable:
            self._coalesced.inc()
            reader = await transfer.join(is_collapsed=True)
            if transfer.state.is_shareable:
                return reader
            reader.close()
        body = ObjectBody(self._access, image)
        transfer = SharedTransfer(self, key, body, conditions, self.limits, memory.now())
        if not is_joinable:  # else it is only for this request
            self._running[key] = transfer
        return await transfer.join(is_collapsed=False)

    def answered(self, transfer: SharedTransfer) -> Budget | None:
        """Remember COS's metadata. Return the budget for the whole body. None: it is not kept."""
        body, memory = transfer.body.state, self._memory
        memory.answered(transfer.body.object_id, body.status, body.metadata, transfer.requested_at)
        is_kept = body.status == 200 and body.metadata.strong_etag is not None and memory.accepts(body.length)
        return self.kept if is_kept else None

    def finished(self, transfer: SharedTransfer) -> None:
        """Forget the transfer, and store its body if it was kept whole."""
        if self._running.get(transfer.key) is transfer:
            del self._running[transfer.key]
        body, state = transfer.body, transfer.state
        if state.is_over and state.keeps_all:
            self._memory.update(body.object_id, body.state.metadata, transfer.requested_at, state.whole)
