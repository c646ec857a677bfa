"""One version of an image's object, as it is handed to who sends it: metadata, and bytes from memory or from COS."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.origin.origin_response import ContentRange, ObjectMetadata
from gateway.presign.signer import AuthorizedImage


class Body(Protocol):
    """The bytes of an object that COS sends: an ``ObjectBody``, or a ``Reader`` of a transfer that others may share."""

    async def read(self) -> bytes | memoryview:
        """Return the next bytes, empty at a clean end. Raises ``BodyLost`` or ``RowChanged`` at any other end."""

    def read_whole(self) -> Awaitable[bytes]:
        """Return all bytes of a small body, or of one that memory stores. Raises what ``read`` raises."""

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to the client: ``OriginResponse.suit``."""

    def close(self) -> None:
        """Stop the transfer, unless it is over or others need it."""


@dataclass(slots=True)
class Content:
    """One version of an image's object in COS: its metadata, and its bytes if they were needed.

    image: its row is the row that access was checked for.
    status: COS's answer, 200, 206 or 304. None if COS was not asked, or failed.
    data: all bytes, if they are in memory.
    age: seconds since COS last confirmed the content of memory. None for bytes that COS sends now.
    fresh_for: seconds until memory has to ask COS, negative if it had to already. None if COS was asked.
    body: the bytes that COS sends, to be closed. None if it sends none.
    covered: the range of the object that ``body`` has. None: the whole.
    had_stale: memory had content that was too old to be used without asking COS.
    is_stored: memory keeps the whole.
    is_collapsed: another request had started the transfer.
    """

    image: AuthorizedImage
    metadata: ObjectMetadata
    status: int | None = None
    data: bytes | None = None
    age: float | None = None
    fresh_for: float | None = None
    body: Body | None = None
    covered: ContentRange | None = None
    had_stale: bool = False
    is_stored: bool = False
    is_collapsed: bool = False

    def of(self, image: AuthorizedImage) -> "Content":
        """Return the content for a request for ``image``.

        Another row of the object may have started the fetch, or one before a reload that changed the audience.
        """
        is_same = self.image.record == image.record and self.image.public == image.public
        return self if is_same else replace(self, image=image)
