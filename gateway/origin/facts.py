"""What earlier answers taught about an object."""

from typing import NamedTuple


class ObjectFacts(NamedTuple):
    """What is true of one version of an object, whichever bytes of it were asked for; None where COS said nothing.

    ``size`` in bytes is None for a body that came in chunks and is not over yet.
    """

    size: int | None
    etag: str | None
    last_modified: str | None
    content_type: str | None
    content_encoding: str | None

    @property
    def strong_etag(self) -> str | None:
        """The entity tag if bytes can be told apart by it (RFC 9110 section 8.8.1)."""
        return self.etag if self.etag is not None and self.etag.startswith('"') else None
