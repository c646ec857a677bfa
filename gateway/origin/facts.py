"""What an object is called, and what earlier answers taught about it."""

from typing import NamedTuple, Self

from gateway.origin.response import ObjectHeaders
from gateway.urls.presigned import SignedImage


class ObjectId(NamedTuple):
    """One object of COS, in one style."""

    bucket: str
    region: str
    key: str
    style: str | None

    @classmethod
    def of(cls, image: SignedImage) -> Self:
        """The object that an image's row names."""
        record = image.record
        return cls(record.bucket, record.region, record.key, image.style)


class ObjectFacts(NamedTuple):
    """What is true of one version of an object, whichever bytes of it were asked for; None where COS said nothing.

    ``size`` in bytes is None for a body that came in chunks and is not over yet.
    """

    size: int | None
    etag: str | None
    last_modified: str | None
    content_type: str | None
    content_encoding: str | None

    @classmethod
    def told_by(cls, headers: ObjectHeaders) -> Self:
        """From an answer, whole or partial."""
        covered = headers.content_range
        return cls(
            size=covered.size if covered is not None else headers.length,
            etag=headers.etag,
            last_modified=headers.last_modified,
            content_type=headers.content_type,
            content_encoding=headers.content_encoding,
        )

    @property
    def strong_etag(self) -> str | None:
        """The entity tag if bytes can be told apart by it (RFC 9110 section 8.8.1)."""
        return self.etag if self.etag is not None and self.etag.startswith('"') else None
