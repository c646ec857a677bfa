"""The bytes of one version of an object, over however many connections it takes to get them."""

import asyncio
import copy
import logging
from typing import Self

from fastcrc import crc64

from gateway.errors import GatewayError
from gateway.metrics.collectors import Metrics
from gateway.origin.errors import BodyLost, BodyTooSlow, ObjectMoved, VersionChanged
from gateway.origin.origin_response import OriginResponse
from gateway.origin.retry import Backoff
from gateway.origin.signed_fetch import SignedFetch

logger = logging.getLogger(__name__)

# A resumption that brought less than this counts as none, so that an origin that cuts every answer is given up.
_PROGRESS = 64 * 1024


class ObjectBody:
    """What an open answer of COS carries, to its end.

    A connection that is lost is resumed with ``Range`` and ``If-Match`` (RFC 9110 sections 14.2 and 13.1.1), on a
    renewed URL if need be, at most ``resumes`` times with less than ``progress`` bytes in between; one that was too
    slow, only once. A clean end means a whole body: of the announced length, all of one version, and with COS's CRC-64
    if it was told (``x-cos-hash-crc64ecma``, COS document 40334) of an object that COS does not process.
    """

    __slots__ = (
        "_backoff",
        "_checksum",
        "_door",
        "_first",
        "_metrics",
        "_progress",
        "_received",
        "_received_at_loss",
        "_response",
        "_resumes",
        "_resumes_left",
        "_wanted_checksum",
        "_was_slow",
        "content_range",
        "has_body",
        "length",
        "metadata",
        "status",
    )

    def __init__(
        self,
        door: SignedFetch,
        response: OriginResponse,
        resumes: int,
        backoff: Backoff,
        metrics: Metrics,
        progress: int = _PROGRESS,
    ) -> None:
        self.status = response.status
        self.metadata = response.metadata
        self.length = response.length
        self.content_range = covered = response.content_range
        self.has_body = response.has_body
        self._door = door
        self._response = response
        self._first = covered.first if covered is not None else 0
        self._resumes = self._resumes_left = resumes
        self._backoff = backoff
        self._metrics = metrics
        self._progress = progress
        self._received = self._received_at_loss = 0
        # On a 206 the header still is that of the whole object.
        self._wanted_checksum = response.crc64 if self.status == 200 else None
        self._checksum = 0
        self._was_slow = False

    def is_over(self) -> bool:
        """Whether the announced length has come; False while it is not known."""
        return self._received == self.length

    async def read(self) -> bytes:
        """The next bytes; empty at the end.

        Raises ``BodyLost`` when the rest cannot be had or the whole is not what COS announced; the last piece is
        withheld then, since with it a client would have a complete-looking image. Cancelling a call loses nothing.
        """
        if self._received == self.length:
            return b""
        while True:
            try:
                piece = await self._response.read()
                if not piece:
                    self._check_end()
                    return b""
            except BodyLost as loss:
                if not await self._resume(loss):
                    self._door.lost(str(loss))
                    raise
                continue
            self._check(piece)
            return piece

    def at_hand(self) -> bytes:
        """What has come already, without waiting; empty if that is nothing. Raises ``BodyLost`` as ``read`` does."""
        piece = self._response.at_hand()
        if piece:
            self._check(piece)
        return piece

    async def rest(self, position: int) -> Self:
        """The bytes from ``position`` on, for a reader who has those before; raises ``BodyLost``."""
        rest = copy.copy(self)
        rest._received = rest._received_at_loss = position  # noqa: SLF001 - its own class
        rest._wanted_checksum = None  # noqa: SLF001 - of bytes that went another way
        rest._response = await rest._open_rest()  # noqa: SLF001
        return rest

    def close(self) -> None:
        """Stop the transfer, if it is not over."""
        if self._received != self.length:  # else the connection has been given back already
            self._response.close()

    def _check(self, piece: bytes) -> None:
        self._received += len(piece)
        if self._wanted_checksum is not None:
            self._checksum = crc64.xz(piece, self._checksum)
        if self._received == self.length:
            try:
                self._check_checksum()
            except BodyLost as loss:
                self._door.lost(str(loss))
                raise

    def _check_end(self) -> None:
        """The end of a body whose length was not told; it may be that of the connection alone."""
        if self.length is None:
            self._check_checksum()

    def _check_checksum(self) -> None:
        if self._wanted_checksum not in (None, self._checksum):
            raise BodyLost(f"the checksum is not that of the object after {self._received} bytes")
        self._door.completed()

    async def _resume(self, loss: BodyLost) -> bool:
        """Put an open answer for the rest in the place of the lost one, if that may be tried; raises ``BodyLost``.

        It does not raise ``loss`` itself: an exception that is a local of a frame in its traceback is a circle.
        """
        if self.metadata.strong_etag is None:
            return False
        if isinstance(loss, BodyTooSlow):
            if self._was_slow:
                return False
            self._was_slow = True
        if self._received - self._received_at_loss >= self._progress:
            self._resumes_left = self._resumes
        self._received_at_loss = self._received
        if self._resumes_left == 0:
            return False
        failed_before = self._resumes - self._resumes_left
        self._response.close()
        if failed_before:
            await asyncio.sleep(self._backoff.pause(failed_before))
        self._metrics.origin_resumes.inc()
        logger.debug("resuming: %s", loss)
        self._response = await self._open_rest()
        self._resumes_left -= 1  # only now: whoever leaves meanwhile must not use up what others may need
        return True

    async def _open_rest(self) -> OriginResponse:
        etag = self.metadata.strong_etag
        if etag is None:
            raise BodyLost("there is no ETag to tell the version by")
        try:
            response = await self._door.open({"Range": self._rest, "If-Match": etag})
        except (GatewayError, VersionChanged, ObjectMoved) as error:
            raise BodyLost(f"after {self._received} bytes, the rest: {type(error).__name__}") from error
        if not self._continues(response):
            response.close()
            raise BodyLost(f"after {self._received} bytes, the rest is of another version")
        return response

    @property
    def _rest(self) -> str:
        first = self._first + self._received
        last = "" if self.length is None else str(self._first + self.length - 1)
        return f"bytes={first}-{last}"

    def _continues(self, response: OriginResponse) -> bool:
        covered = response.content_range
        return (
            response.status == 206
            and covered is not None
            and covered.first == self._first + self._received
            and response.metadata.etag == self.metadata.etag
            and self.metadata.size in (None, covered.size)
            and covered.last == (covered.size if self.length is None else self._first + self.length) - 1
        )
