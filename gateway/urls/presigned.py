"""A presigned URL, and an image beside it: what the cache keeps and the way of a request needs."""

from dataclasses import dataclass
from typing import Final

from gateway.catalog.record import ImageRecord

# COS may see the clock of this machine run ahead; the SDK starts every signature a minute early, and so do we.
BACKDATE: Final = 60


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """A URL that COS answers to until ``expires_at``.

    ``url`` is exact bytes: it is never parsed and put together again. ``signed_at`` and ``expires_at`` are Unix
    seconds; ``expires_at`` is the end of the signature or of the temporary credentials, whichever comes first.
    """

    url: str
    signed_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class SignedImage:
    """An image's record beside its presigned URL, so that access can be checked on every hit.

    ``read_at`` is when the row was read, in Unix seconds: what changed since is not in the record.
    """

    record: ImageRecord
    presigned: PresignedUrl
    style: str | None = None
    read_at: int = 0
