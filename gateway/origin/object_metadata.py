"""What earlier answers taught about an object."""

from typing import NamedTuple


class ObjectMetadata(NamedTuple):
    """What is true of one version of an object, whichever bytes of it were asked for; None where COS said nothing.

    ``size`` in bytes is None for a body that came in chunks and is not over yet.
    """

    size: int | None
    etag: str | None
    last_modified: str | None
    content_type: str | None
    content_encoding: str | None

    def is_version_of(self, other: "ObjectMetadata") -> bool:
        """Whether both are of the same bytes; without an entity tag there is no telling."""
        return self.etag is not None and self.etag == other.etag and self.size == other.size

    def confirm(self, kept: "ObjectMetadata") -> bool:
        """Whether a 304 that tells these says that the object still is as ``kept`` says.

        COS's entity tag is of the bytes: where only the type was changed it is the same.
        """
        return self.etag in (None, kept.etag) and self.content_type in (None, kept.content_type)

    @property
    def strong_etag(self) -> str | None:
        """The entity tag if bytes can be told apart by it (RFC 9110 section 8.8.1)."""
        return self.etag if self.etag is not None and self.etag.startswith('"') else None
