"""A presigned URL, and an image beside it: what the cache keeps and the way of a request needs."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

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


class ObjectId(NamedTuple):
    """One object of COS, in one style."""

    bucket: str
    region: str
    key: str
    style: str | None


@dataclass(frozen=True, slots=True)
class SignedImage:
    """An image's record beside its presigned URL, so that access can be checked on every hit.

    ``read_at`` is when the row was read, in Unix seconds: what changed since is not in the record. ``object_id`` is the
    object that the row names.
    """

    record: ImageRecord
    presigned: PresignedUrl
    style: str | None = None
    read_at: int = 0
    object_id: ObjectId = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        record = self.record
        object.__setattr__(self, "object_id", ObjectId(record.bucket, record.region, record.key, self.style))
