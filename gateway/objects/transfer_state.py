"""The rules of a transfer from COS, without I/O, by which ``ObjectBody`` and ``SharedTransfer`` request and wait."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from fastcrc import crc64

from gateway.errors import without_traceback
from gateway.origin.cos_errors import BodyLost, BodyTooSlow
from gateway.origin.origin_response import AnswerHead
from gateway.origin.retry import Backoff, backoff

Piece = bytes | memoryview


class BufferLimits(NamedTuple):
    """How many bytes of bodies from COS a process keeps in memory for readers (requests of clients)."""

    window: int = 2 * 1024 * 1024  # between the readers of a large body: one that falls behind gets its own connection
    whole: int = 4 * 1024 * 1024  # a body up to this size is kept for readers that join or fall behind
    alone: int = 512 * 1024  # the beginning that a transfer with one reader keeps for readers that may still join
    at_once: int = 128 * 1024  # a body up to this size has mostly arrived with its header
    shared_prefixes: int = 16 * 1024 * 1024  # what all transfers together keep of whole bodies and beginnings


class ResumptionLimits(NamedTuple):
    """How often a broken transfer from COS is resumed: ``resumes`` times with less than ``progress`` bytes in between.

    So an origin that breaks off early each time is given up, and a long transfer may be lost any number of times.
    """

    resumes: int
    backoff: Backoff = backoff
    progress: int = 64 * 1024


class BodyState:
    """The progress of a body from COS, one version of an object: what has come, and how the rest is requested.

    A clean end means a complete body: of the announced length, all of one version, and with COS's CRC-64 if the answer
    had one (``x-cos-hash-crc64ecma``, COS document 40334) and COS did not process the object. A lost connection is
    resumed with ``Range`` and ``If-Match`` (RFC 9110 sections 14.2 and 13.1.1), as ``limits`` says, and once if COS was
    too slow.

    head: of the first answer.
    length: of the body, once it is known.
    received: the bytes of the body so far.
    is_over: there are no more bytes, and those received are the whole.
    """

    def __init__(self, limits: ResumptionLimits, head: AnswerHead, received: int = 0, *, resumed: int = 0) -> None:
        self.head = head
        self.length = head.length
        self.received = self._received_at_loss = received
        self.is_over = not head.has_body or head.length == received
        # On a 206 the header is still that of the whole object.
        self._expected_checksum = head.crc64 if head.status == 200 else None
        self._checksum = 0
        self._limits = limits
        self._resumed = resumed
        self._was_slow = self._is_corrupt = False

    @property
    def is_resumable(self) -> bool:
        return self.head.metadata.strong_etag is not None

    def arrived(self, piece: bytes) -> None:
        """Count the next bytes of COS, which are empty where COS ends the body.

        Raises ``BodyLost`` if bytes are missing at the end, or the whole is not what COS announced. The piece must not
        be passed on then, since with it a client would have a complete-looking image.
        """
        self.received = received = self.received + len(piece)
        if self._expected_checksum is not None:
            self._checksum = crc64.xz(piece, self._checksum)
        length = self.length
        if piece and (length is None or received < length):
            return
        if length not in (None, received) or self._expected_checksum not in (None, self._checksum):
            # Without a length, and where bytes are missing, the connection may have been lost.
            self._is_corrupt = length is not None and received >= length
            raise BodyLost(f"{received} bytes came, of length {length}, or another checksum than COS announced")
        self.is_over = True

    def lost(self, loss: BodyLost) -> float | None:
        """Return the seconds to wait before the rest is requested. None: the body is cut off."""
        if self._is_corrupt or not self.is_resumable:
            return None
        if isinstance(loss, BodyTooSlow):
            if self._was_slow:
                return None
            self._was_slow = True
        limits = self._limits
        if self.received - self._received_at_loss >= limits.progress:
            self._resumed = 0
        self._received_at_loss = self.received
        if self._resumed >= limits.resumes:
            return None
        return limits.backoff(self._resumed) if self._resumed else 0.0

    def rest(self) -> dict[str, str]:
        """Return the header fields that request the rest of this version. Raises ``BodyLost`` without a strong tag."""
        etag = self.head.metadata.strong_etag
        if etag is None:
            raise BodyLost("there is no ETag to tell the version by")
        first, end = self._rest()
        return {"Range": f"bytes={first}-{'' if end is None else end - 1}", "If-Match": etag}

    def resumed(self, head: AnswerHead) -> None:
        """Continue with COS's answer to ``rest``. Raises ``BodyLost`` if it is not the rest of this version."""
        first, end = self._rest()
        covered, expected = head.content_range, self.head.metadata
        if (
            covered is None
            or not covered.is_rest(first, end)
            or expected.size not in (None, covered.size)
            or head.metadata.etag != expected.strong_etag
        ):
            raise BodyLost(f"after {self.received} bytes, the rest is of another version")
        self.length = self.received + covered.last + 1 - covered.first
        self._resumed += 1  # only now: a reader that leaves during the request uses up nothing

    def _rest(self) -> tuple[int, int | None]:
        """Return the first byte of the object that is missing, and the end of the body, excluded. None: unknown."""
        first = self.head.content_range.first if self.head.content_range is not None else 0
        return first + self.received, None if self.length is None else first + self.length

    def branch(self, received: int) -> "BodyState":
        """Return the state of a body without its first ``received`` bytes, before COS's answer to its ``rest``."""
        return BodyState(self._limits, self.head._replace(crc64=None), received, resumed=-1)


@dataclass(slots=True, eq=False)
class Budget:
    """A memory limit that transfers share: each takes and gives back bytes, at most ``most`` in use at once."""

    most: int
    taken: int = 0

    def take(self, size: int) -> bool:
        """Return whether there were ``size`` bytes left. True takes them."""
        if self.taken + size > self.most:
            return False
        self.taken += size
        return True


class Need(Enum):
    """What a reader (a client's request) has to do for its next piece of a shared body."""

    FETCH = auto()  # read it from COS
    WAIT = auto()  # for another reader, which does
    REST = auto()  # request the rest for itself, since the piece was dropped


@dataclass(slots=True, eq=False)
class TransferState:
    """The pieces of one body from COS, and the rules of who fetches the next one for any number of readers.

    The first reader that needs the next piece fetches it, the others wait for it. Nothing is read ahead of the fastest
    reader, so slow readers hold COS back. When a reader leaves while it fetches, the next one continues. When the last
    one leaves, the transfer stops. The body is kept whole for readers that join late, or within a window. A body that
    memory does not store is kept whole until its last reader leaves, if it is small enough and the budget has room.

    body: None until COS has answered.
    is_over: the body is complete.
    failure: why the rest of the body will not come.
    whole: all bytes, after the end. None if pieces were dropped.
    """

    limits: BufferLimits
    body: BodyState | None = None
    readers: int = 0
    is_over: bool = False
    failure: Exception | None = None
    keeps_all: bool = False
    whole: bytes | None = None
    _pieces: list[Piece] = field(default_factory=list)
    _dropped: int = 0  # pieces no longer kept; the number of the first that is
    _kept_bytes: int = 0
    _most_alone: int = 0  # the most bytes to keep for a single reader
    _is_fetching: bool = False
    _budget: Budget | None = None  # of which ``_reserved`` bytes are taken
    _reserved: int = 0

    @property
    def is_joinable(self) -> bool:
        """Whether a new reader can have every byte."""
        return self._dropped == 0 and self.failure is None

    @property
    def is_lingering(self) -> bool:
        """Whether the body is complete, and kept for readers that join while others still read it."""
        return self.is_over and self._budget is not None

    @property
    def is_shareable(self) -> bool:
        """Whether a reader that falls behind the others still gets the whole body. Known once COS has answered."""
        if (body := self.body) is None:
            return False
        is_small = body.length is not None and body.length <= self._most_alone
        return self.keeps_all or body.is_resumable or not body.head.has_body or is_small

    def turn(self) -> Need:
        """Return whether the reader reads from COS, until ``passed``, or waits. Raises why the transfer failed."""
        if self.failure is not None:
            raise without_traceback(self.failure)
        if self._is_fetching:
            return Need.WAIT
        self._is_fetching = True
        return Need.FETCH

    def passed(self) -> None:
        """Take the turn back: the waiting readers wake up."""
        self._is_fetching = False

    def take(self, number: int) -> Piece | Need:
        """Return the piece, empty after the last, or what the reader has to do first. Raises as ``turn``."""
        index = number - self._dropped
        if index >= len(self._pieces):
            return b"" if self.is_over else self.turn()
        if index < 0:
            return Need.REST
        piece = self._pieces[index]
        if self._dropped and self.readers == 1:  # no other reader needs it
            while self._dropped <= number:
                self._drop_first()
        return piece

    def opened(self, body: BodyState, kept: Budget | None, shared_prefixes: Budget) -> None:
        """Take COS's answer. ``kept``: of which to keep the whole body in memory, if there is enough left."""
        self.body = body
        size, limits = body.length, self.limits
        if kept is not None and size is not None and kept.take(size):
            self.keeps_all = True
            self._budget, self._reserved = kept, size
        elif size is not None and size <= limits.at_once:
            self._most_alone = limits.at_once
        elif not body.is_over and shared_prefixes.take(limits.alone):  # else many other transfers keep their beginning
            self._most_alone = limits.alone
            self._budget, self._reserved = shared_prefixes, limits.alone
        if body.is_over:
            self.ended()

    def arrived(self, piece: bytes) -> None:
        """Keep the next bytes, which the body has counted. They are empty at its end."""
        if piece:
            self._pieces.append(piece)
            self._kept_bytes += len(piece)
            if not self.keeps_all and not self._may_keep(self._kept_bytes):
                most = self.limits.window if self.readers > 1 else 0
                while self._kept_bytes > most and len(self._pieces) > 1:
                    self._drop_first()
                self._release()
        if self.body is not None and self.body.is_over:
            self.ended()

    def ended(self, failure: Exception | None = None) -> None:
        """End the transfer: it is complete, or failed."""
        self.failure = failure
        self.is_over = failure is None
        if self.keeps_all:  # else it is kept for the readers
            self._release()
        if self.is_over and self._dropped == 0 and not self.is_lingering:
            self._join_pieces()

    def left(self) -> bool:
        """Take a reader off. Return whether it was the last one, and the transfer ran or was lingering."""
        self.readers -= 1
        if self.readers:
            return False
        has_ended = self.is_over or self.failure is not None
        was_lingering = self.is_lingering
        self._release()
        if not self.is_over:
            # The traceback of a failure leads to its readers: a reference cycle that would hold all pieces.
            self.ended(BodyLost("all readers left"))
        return was_lingering or not has_ended

    def _may_keep(self, size: int) -> bool:
        """Return whether the first ``size`` bytes may be kept for one reader. Takes more of the budget as needed."""
        whole = self.body.length if self.body is not None else None
        while size > self._most_alone:
            if self._budget is None or whole is None or whole > self.limits.whole:
                return False
            more = min(self.limits.alone, whole - self._most_alone)
            if not self._budget.take(more):
                return False
            self._most_alone += more
            self._reserved += more
        return True

    def _drop_first(self) -> None:
        self._kept_bytes -= len(self._pieces.pop(0))
        self._dropped += 1

    def _release(self) -> None:
        if self._budget is not None:
            self._budget.taken -= self._reserved
            self._budget = None

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
