"""One body from the origin for any number of readers."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway.origin.errors import BodyLost
from gateway.origin.object_body import ObjectBody


class BufferLimits(NamedTuple):
    """How much of a body is kept for its readers, in bytes.

    ``window`` is how far the readers of a large one may be apart: whoever falls behind gets a transfer of its own.
    ``alone`` is what a single reader keeps of the beginning for those who may come late. A body of ``at_once`` or less
    has mostly come with its head.
    """

    window: int = 2 * 1024 * 1024
    alone: int = 512 * 1024
    at_once: int = 128 * 1024


Piece = bytes | memoryview


class Transfer(ABC):
    """The first who needs the next piece fetches it, the others wait for it: no task, and no pace but the readers'.

    Nothing is read ahead of the fastest reader, so slow readers hold the origin back. Whoever leaves harms nobody:
    if it was fetching, the next in need goes on; when the last has left, the transfer stops. A body is kept whole for
    those who come late, or within a window.
    """

    __slots__ = (
        "_dropped",
        "_failure",
        "_is_fetching",
        "_kept_bytes",
        "_pieces",
        "_reach",
        "_readers",
        "_waiting",
        "body",
        "is_open",
        "is_over",
        "keeps_all",
        "whole",
    )

    body: ObjectBody  # from when it is open
    whole: bytes  # after its end, if none of it was dropped

    def __init__(self, reach: BufferLimits) -> None:
        self._reach = reach
        self.is_open = False
        self._pieces: list[Piece] = []
        self._dropped = 0  # pieces no longer kept; the number of the first that is
        self._kept_bytes = 0
        self._readers = 0
        self._is_fetching = False
        self._waiting: list[asyncio.Future[None]] = []
        self._failure: Exception | None = None
        self.keeps_all = False
        self.is_over = False

    @abstractmethod
    async def open(self) -> None:
        """Ask COS, and tell ``begins`` what it answered; asked for once."""

    @abstractmethod
    def ended(self) -> None:
        """The transfer came to its end, good or bad; told once."""

    @property
    def is_joinable(self) -> bool:
        """Whether a newcomer can have every byte from here."""
        return self._dropped == 0 and self._failure is None

    @property
    def is_shareable(self) -> bool:
        """Whether whoever falls behind the others still gets all of the body, once it is open."""
        body = self.body
        is_small = body.length is not None and body.length <= self._reach.alone
        return self.keeps_all or is_small or not body.has_body or body.metadata.strong_etag is not None

    def join(self, is_collapsed: bool) -> "Reader":
        """One more reader, from the first byte; ``is_collapsed`` if the transfer was begun for another."""
        self._readers += 1
        return Reader(self, is_collapsed)

    async def opened(self) -> None:
        """Return once COS has answered; raises what opening the body raises, to all who wait."""
        while not self.is_open:
            await self._advance(self.open)

    def begins(self, body: ObjectBody, keeps_all: bool) -> None:
        """The body is open; ``keeps_all`` if it is to be kept whole."""
        self.body = body
        self.keeps_all = keeps_all
        self.is_open = True
        if not body.has_body or body.is_over():
            self._end(None)
        elif body.length is not None and body.length <= self._reach.at_once:
            self._take_at_hand()

    async def finished(self) -> bytes:
        """All bytes of a body that is kept, or kept whole since it is small; raises ``BodyLost``."""
        while not self.is_over:
            await self._advance(self._fetch)
        return self.whole

    async def piece(self, number: int) -> Piece:
        """The piece of that number, empty after the last; raises ``BodyLost``, or ``FellBehind`` if it is gone."""
        while number - self._dropped >= len(self._pieces):
            if self.is_over:
                return b""
            await self._advance(self._fetch)
        if number < self._dropped:
            raise FellBehind
        return self._pieces[number - self._dropped]

    def leave(self) -> None:
        """One reader less."""
        self._readers -= 1
        if self._readers > 0:
            return
        if not self.is_over and self._failure is None:
            self._end(BodyLost("everybody left"))
        elif self._failure is not None:
            # Its traceback leads back here: a circle, with all pieces in it, that only the collector would undo.
            self._failure = BodyLost("everybody left")

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

    def _take_at_hand(self) -> None:
        try:
            piece = self.body.at_hand()
        except BodyLost as error:  # whoever asks for the body is told
            self._end(error.with_traceback(None))
        else:
            if piece:
                self._take(piece)

    async def _fetch(self) -> None:
        piece = await self.body.read()
        if piece:
            self._take(piece)
        else:
            self._end(None)

    def _take(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._kept_bytes += len(piece)
        if not self.keeps_all and self._kept_bytes > self._reach.alone:
            self._shrink()
        if self.body.is_over():
            self._end(None)

    def _shrink(self) -> None:
        # Alone, and too far for anybody to join, a reader needs nothing but the piece that it is about to take.
        most = self._reach.window if self._readers > 1 else 0
        while self._kept_bytes > most and len(self._pieces) > 1:
            self._kept_bytes -= len(self._pieces.pop(0))
            self._dropped += 1

    def _end(self, failure: Exception | None) -> None:
        self._failure = failure
        self.is_over = failure is None
        if self.is_over and self._dropped == 0:
            self._join_pieces()
        if self.is_open:
            self.body.close()
        self.ended()

    def _join_pieces(self) -> None:
        """One copy of the bytes, for the cache and for all who still read."""
        if len(self._pieces) == 1 and isinstance(self._pieces[0], bytes):
            self.whole = self._pieces[0]
            return
        self.whole = b"".join(self._pieces)
        view, position = memoryview(self.whole), 0
        for number, piece in enumerate(self._pieces):
            self._pieces[number] = view[position : position + len(piece)]
            position += len(piece)


class Reader:
    """One reader's way through a transfer; it must be closed.

    ``is_collapsed`` if the transfer was begun for another; ``had_stale`` if what was known before had become old.
    """

    __slots__ = ("_has_left", "_next", "_own", "_position", "had_stale", "is_collapsed", "transfer")

    def __init__(self, transfer: Transfer, is_collapsed: bool) -> None:
        self.transfer = transfer
        self.is_collapsed = is_collapsed
        self.had_stale = False
        self._next = 0
        self._position = 0
        self._own: ObjectBody | None = None
        self._has_left = False

    async def read(self) -> Piece:
        """The next bytes; empty at the end. Raises ``BodyLost``."""
        if self._own is not None:
            return await self._own.read()
        try:
            piece = await self.transfer.piece(self._next)
        except FellBehind:
            self._own = await self.transfer.body.rest(self._position)
            self._leave()
            return await self._own.read()
        self._next += 1
        self._position += len(piece)
        return piece

    def close(self) -> None:
        """Leave the transfer."""
        if self._own is not None:
            self._own.close()
        if not self._has_left:
            self._leave()

    def _leave(self) -> None:
        self._has_left = True
        self.transfer.leave()


class FellBehind(Exception):
    """The piece asked for is no longer kept."""
