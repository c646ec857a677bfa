"""The values that name an image in COS: variant, object, presigned URL, and a row with its URL.

They decide nothing: packages pass them to each other.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, NewType, Self

from gateway.catalog.record import ImageRecord

# COS may see the clock of this machine run ahead; the SDK starts every signature a minute early, and so do we.
BACKDATE: Final = 60
# Seconds that this machine's clock may differ from COS's: signatures begin a minute early, so that COS refuses no URL
# for less. COS's own SDKs correct the clock from here on, too.
CLOCK_TOLERANCE: Final = 30

# Given a number of seconds, returns the object that was given first for it: the URLs in memory begin, end and were read
# within few different seconds, and each separate number takes 32 bytes.
shared_second: Final = lru_cache(maxsize=4096)(int)


class ImageVariant(NamedTuple):
    """An image, or its rendition with the name ``rendition``; each has its own URL."""

    image_id: str
    rendition: str | None = None


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """A URL that COS answers until ``expires_at``.

    ``url`` is exact bytes: it is never parsed and put together again. ``signed_at`` and ``expires_at`` are Unix
    seconds; ``expires_at`` is the end of the signature or of the temporary credentials, whichever comes first.
    """

    url: str
    signed_at: int
    expires_at: int


class Authorization(NamedTuple):
    """The values that differ between URLs of two replicas for the same object at the same time."""

    secret_id: str
    signature: str
    token: str | None = None


class ObjectId(NamedTuple):
    """One object of COS, unchanged or in one rendition.

    ``focus`` comes from the row, and the rule may depend on it; ``revision`` is that of the rule.
    """

    bucket: str
    region: str
    key: str
    rendition: str | None
    focus: str | None = None
    revision: int = 0

    @classmethod
    def of(cls, record: ImageRecord, rendition: str | None, revision: int = 0) -> Self:
        """Return the object of a row, in a rendition or with None as it is."""
        focus = record.focus if rendition is not None else None
        return cls(record.bucket, record.region, record.key, rendition, focus, revision)

    def original(self) -> Self:
        """Return the object as it is."""
        return self._replace(rendition=None, focus=None, revision=0)


@dataclass(frozen=True, slots=True)
class SignedImage:
    """An image's record and its presigned URL, so that access can be checked on every hit.

    ``read_at`` is when the row was read, in Unix seconds: the record lacks later changes. ``public`` (whether everybody
    may see it, by row, style and configuration) follows from the record and the rendition; who makes a signed image
    passes it, so that reading it runs no code. ``named`` is the object's id, which depends on the configuration for a
    rendition; an original has None until ``object_id`` is read: most URLs in memory are only given to clients.
    """

    record: ImageRecord
    presigned: PresignedUrl
    rendition: str | None = None
    read_at: int = 0
    named: ObjectId | None = field(default=None, kw_only=True, repr=False, compare=False)
    public: bool = field(kw_only=True)

    @property
    def object_id(self) -> ObjectId:
        """The id of the image's object at COS; it is made once."""
        named = self.named
        if named is None:
            record = self.record
            named = ObjectId(record.bucket, record.region, record.key, None)
            object.__setattr__(self, "named", named)  # no other value can come of a frozen record
        return named


# An image that the sender of the current request may view. Whatever sends bytes, or the URL of bytes, takes this type;
# ``tests/test_imports.py`` lists the modules that make it.
AuthorizedImage = NewType("AuthorizedImage", SignedImage)
