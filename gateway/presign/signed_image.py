"""A row with its presigned URL, and the object of COS that the URL names: values that packages pass to each other."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, NewType, Self

from gateway.catalog.record import ImageRecord

# Given a number of seconds, returns the object that was given first for it: the URLs in memory begin, end and were read
# within few different seconds, and each separate number takes 32 bytes.
shared_second: Final = lru_cache(maxsize=4096)(int)


class ImageVariant(NamedTuple):
    """An image, or its rendition with the name ``rendition``. Each has its own URL."""

    image_id: str
    rendition: str | None = None


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """A URL by which COS answers without further credentials until ``expires_at``.

    url: exact bytes, never parsed and put together again.
    signed_at: Unix seconds.
    expires_at: the end of the signature or of the temporary credentials, whichever comes first, in Unix seconds.
    """

    url: str
    signed_at: int
    expires_at: int


class Authorization(NamedTuple):
    """The parts of a presigned URL that differ between two replicas' URLs for the same object at the same time."""

    secret_id: str
    signature: str
    token: str | None = None


class ObjectId(NamedTuple):
    """The identity of an object of COS, or of a rendition of it, as a key for memory.

    focus: the part of the image that a crop keeps, from the row, if the rule of the rendition depends on it.
    revision: the revision of the rule.
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
        return self._replace(rendition=None, focus=None, revision=0)


@dataclass(frozen=True, slots=True)
class SignedImage:
    """An image's record and its presigned URL, so that access can be checked on every hit.

    read_at: when the row was read, in Unix seconds. The record lacks later changes.
    public: whether everybody may see the image, by row, style and configuration. It follows from the record and the
    rendition, but is passed when a signed image is made, so that reading it runs no code.
    named: the object's id. For a rendition it depends on the configuration. An original has None until ``object_id`` is
    read, because most URLs in memory are only given to clients.
    """

    record: ImageRecord
    presigned: PresignedUrl
    rendition: str | None = None
    read_at: int = 0
    named: ObjectId | None = field(default=None, kw_only=True, repr=False, compare=False)
    public: bool = field(kw_only=True)

    @property
    def object_id(self) -> ObjectId:
        """The id of the image's object at COS, made once."""
        named = self.named
        if named is None:
            record = self.record
            named = ObjectId(record.bucket, record.region, record.key, None)
            object.__setattr__(self, "named", named)  # no other value can come of a frozen record
        return named


# An image that the sender of the current request may view. Whatever sends bytes, or the URL of bytes, takes this type;
# ``tests/test_imports.py`` lists the modules that make it.
AuthorizedImage = NewType("AuthorizedImage", SignedImage)
