"""Transfers of objects for many requests each: every byte is fetched from COS once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from gateway.origin.errors import BodyLost
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.metrics import OriginMetrics
from gateway.origin.object_body import ObjectBody, OriginAccess
from gateway.presign.signed_image import AuthorizedImage, ObjectId
from gateway.settings import Live, MemoryCacheSettings

Piece = bytes | memoryview
# The object, and the conditional header fields that COS was sent.
TransferKey = tuple[ObjectId, tuple[tuple[str, str], ...]]


class BufferLimits(NamedTuple):
    """The buffer limits of a body, in bytes.

    ``window`` is the largest distance between the readers of a large body: a reader that falls behind gets its own
    connection. ``alone`` limits the beginning that a transfer with a single reader keeps for readers that may still
    join, ``beginnings`` the beginnings of all transfers together. A body of ``at_once`` or less has mostly arrived with
    its header.
    """

    window: int = 2 * 1024 * 1024
    alone: int = 512 * 1024
    at_once: int = 128 * 1024
    beginnings: int = 16 * 1024 * 1024


class SharedTransfer:
    """Fetches one body for any number of readers.

    The first reader that needs the next piece fetches it, the others wait for it: there is no task, and no pace but the
    readers'. Nothing is read ahead of the fastest reader, so slow readers hold COS back. When a reader leaves while it
    fetches, the next one continues. When the last one leaves, the transfer stops. The body is kept whole for readers
    that join late, or within a window.

    requested_at: when the transfer was started, in monotonic seconds.
    reserved: the bytes of memory that the owner of the transfer set aside for it.
    """

    __slots__ = (
        "_beginning",
        "_dropped",
        "_failure",
        "_is_fetching",
        "_kept_bytes",
        "_limits",
        "_most_alone",
        "_owner",
        "_pieces",
        "_readers",
        "_waiting",
        "body",
        "conditions",
        "is_open",
        "is_over",
        "keeps_all",
        "key",
        "requested_at",
        "reserved",
        "whole",
    )

    whole: bytes  # after the end, if no piece was dropped

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
        self.conditions = conditions
        self.requested_at = requested_at
        self.reserved = 0
        self.is_open = False
        self.is_over = False
        self.keeps_all = False
        self._owner = owner
        self._limits = limits
        self._pieces: list[Piece] = []
        self._most_alone = 0  # the most bytes to keep for a single reader
        self._beginning = 0  # the bytes reserved for that now
        self._dropped = 0  # pieces no longer kept; the number of the first that is
        self._kept_bytes = 0
        self._readers = 0
        self._is_fetching = False
        self._waiting: list[asyncio.Future[None]] = []
        self._failure: Exception | None = None

    @property
    def is_joinable(self) -> bool:
        """Whether a new reader can have every byte."""
        return self._dropped == 0 and self._failure is None

    @property
    def is_shareable(self) -> bool:
        """Whether a reader that falls behind the others still gets the whole body. Known once the transfer is open."""
        body = self.body
        is_small = body.length is not None and body.length <= self._most_alone
        return self.keeps_all or is_small or not body.has_body or body.metadata.strong_etag is not None

    async def join(self, *, is_collapsed: bool) -> "Reader":
        """Return one more reader, from the first byte, once COS has answered.

        ``is_collapsed``: the transfer was started for another request. Raises what ``ObjectBody.open`` raises.
        """
        self._readers += 1
        reader = Reader(self, is_collapsed)
        try:
            while not self.is_open:
                await self._advance(self._open)
        except BaseException:
            reader.close()
            raise
        return reader

    async def read_whole(self) -> bytes:
        """Return all bytes of a body that is kept whole, or is small enough to be. Raises what ``piece`` raises."""
        while not self.is_over:
            await self._advance(self._fetch)
        return self.whole

    async def piece(self, number: int) -> Piece:
        """Return the piece of that number, empty after the last.

        Raises what ``ObjectBody.read`` raises, and ``FellBehind`` if the piece was dropped.
        """
        while number - self._dropped >= len(self._pieces):
            if self.is_over:
                return b""
            await self._advance(self._fetch)
        if number < self._dropped:
            raise FellBehind
        piece = self._pieces[number - self._dropped]
        if self._dropped and self._readers == 1:  # no other reader needs it
            while self._dropped <= number:
                self._drop_first()
        return piece

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to a reader's client: ``OriginResponse.suit``.

        Of several readers the fastest sets the pace: a blocked reader must not hold back what another reader waits for.
        """
        is_alone = self._readers == 1
        self.body.suit(has_unsent=has_unsent and is_alone, is_blocked=is_blocked and is_alone)

    def leave(self) -> None:
        """Take a reader off. The last reader stops the transfer."""
        self._readers -= 1
        if self._readers > 0:
            return
        if not self.is_over and self._failure is None:
            self._end(BodyLost("all readers left"))
        elif self._failure is not None:
            # Its traceback leads back here: a reference cycle that would hold all pieces until the collector runs.
            self._failure = BodyLost("all readers left")

    async def _advance(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take the next step, or wait while another reader does."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._is_fetching:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
            return
        self._is_fetching = True
        try:
            await step()
        except Exception as error:
            self._end(error)
            raise
        finally:
            self._is_fetching = False
            if self._waiting:
                self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    async def _open(self) -> None:
        body = self.body
        await body.open(self.conditions)
        self.keeps_all = self._owner.opened(self)
        self.is_open = True
        self._most_alone = self._limits.at_once
        if not self.keeps_all and (body.length is None or body.length > self._limits.at_once):
            self._most_alone = self._beginning = self._owner.reserve_beginning()
        if not body.has_body or body.is_over():
            self._end(None)
        elif body.length is not None and body.length <= self._limits.at_once:
            self._fetch_nowait()

    def _fetch_nowait(self) -> None:
        try:
            piece = self.body.read_nowait()
        except BodyLost as error:  # readers get it with the next piece
            self._end(error.with_traceback(None))
        else:
            if piece:
                self._append(piece)

    async def _fetch(self) -> None:
        piece = await self.body.read()
        if piece:
            self._append(piece)
        else:
            self._end(None)

    def _append(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._kept_bytes += len(piece)
        if not self.keeps_all and self._kept_bytes > self._most_alone:
            most = self._limits.window if self._readers > 1 else 0
            while self._kept_bytes > most and len(self._pieces) > 1:
                self._drop_first()
            self._release_beginning()
        if self.body.is_over():
            self._end(None)

    def _drop_first(self) -> None:
        self._kept_bytes -= len(self._pieces.pop(0))
        self._dropped += 1

    def _release_beginning(self) -> None:
        if self._beginning:
            self._owner.release_beginning(self._beginning)
            self._beginning = 0

    def _end(self, failure: Exception | None) -> None:
        self._failure = failure
        self.is_over = failure is None
        self._release_beginning()
        if self.is_over and self._dropped == 0:
            self._join_pieces()
        if self.is_open:
            self.body.close()
        self._owner.finished(self)

    def _join_pieces(self) -> None:
        """Make one copy of the bytes, for the cache and for all readers."""
        if len(self._pieces) == 1 and isinstance(self._pieces[0], bytes):
            self.whole = self._pieces[0]
            return
        self.whole = b"".join(self._pieces)
        view, position = memoryview(self.whole), 0
        for number, piece in enumerate(self._pieces):
            self._pieces[number] = view[position : position + len(piece)]
            position += len(piece)


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
        try:
            piece = await self.transfer.piece(self._next)
        except FellBehind:
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


class FellBehind(Exception):
    """The requested piece is no longer kept."""


class SharedTransfers:
    """The running transfers: one for all requests of an object with the same conditions.

    Bodies that ``memory`` accepts are kept whole while they arrive and stored there at their end. Together they hold
    at most ``memory_cache.max_bytes``: ``reserved_bytes`` are the bytes that running transfers may still add.
    """

    def __init__(
        self,
        access: OriginAccess,
        memory: ObjectCache,
        settings: Live[MemoryCacheSettings],
        metrics: OriginMetrics,
        limits: BufferLimits | None = None,
    ) -> None:
        self.reserved_bytes = 0
        self._beginnings = 0  # bytes that transfers may keep for readers that join late
        self._access = access
        self._memory = memory
        self._settings = settings
        self._coalesced = metrics.coalesced_requests
        self._limits = limits or BufferLimits()
        self._running: dict[TransferKey, SharedTransfer] = {}

    async def join(self, image: AuthorizedImage, conditions: Mapping[str, str]) -> Reader:
        """Return a reader of the whole object, which the caller closes: of the running transfer, or of a new one.

        ``conditions`` may make COS answer 304 instead. Raises the errors of ``ObjectBody.open``.
        """
        key = (image.named or image.object_id, tuple(conditions.items()) if conditions else ())
        memory = self._memory
        transfer = self._running.get(key)
        is_joinable = (
            transfer is not None
            and transfer.is_joinable
            and transfer.requested_at > memory.changed_at(image.record.image_id)
        )
        if transfer is not None and is_joinable:
            self._coalesced.inc()
            reader = await transfer.join(is_collapsed=True)
            if transfer.is_shareable:
                return reader
            reader.close()
        body = ObjectBody(self._access, image)
        transfer = SharedTransfer(self, key, body, conditions, self._limits, memory.now())
        if not is_joinable:  # else it is only for this request
            self._running[key] = transfer
        return await transfer.join(is_collapsed=False)

    def opened(self, transfer: SharedTransfer) -> bool:
        """Remember COS's metadata. Return whether to keep the whole body, with memory reserved for it."""
        body, memory = transfer.body, self._memory
        memory.answered(body.object_id, body.status, body.metadata, transfer.requested_at)
        size = body.length
        if (
            body.status != 200
            or size is None
            or not memory.accepts(size)
            or body.metadata.strong_etag is None
            or self.reserved_bytes + size > self._settings.value.max_bytes
        ):
            return False
        transfer.reserved = size
        self.reserved_bytes += size
        return True

    def reserve_beginning(self) -> int:
        """Return the bytes of its beginning that a transfer may keep: none while many other transfers keep theirs."""
        most = self._limits.alone
        if self._beginnings + most > self._limits.beginnings:
            return 0
        self._beginnings += most
        return most

    def release_beginning(self, most: int) -> None:
        """Return the bytes from ``reserve_beginning`` to the budget."""
        self._beginnings -= most

    def finished(self, transfer: SharedTransfer) -> None:
        """Release the bytes reserved for the transfer, and store its body if it was kept whole."""
        self.reserved_bytes -= transfer.reserved
        if self._running.get(transfer.key) is transfer:
            del self._running[transfer.key]
        if transfer.is_over and transfer.keeps_all:
            body = transfer.body
            self._memory.update(body.object_id, body.metadata, transfer.requested_at, transfer.whole)
