"""The values that name an image in COS: variant, object, presigned URL, and the row beside its URL.

They hold no rules: rooms hand them to each other.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from gateway.catalog.image_id import PATTERN as IMAGE_ID
from gateway.catalog.record import ImageRecord
from gateway.settings import STYLE_NAME

# COS may see the clock of this machine run ahead; the SDK starts every signature a minute early, and so do we.
BACKDATE: Final = 60

_SEPARATOR = "|"  # occurs neither in an id nor in the name of a style
_WORD = re.compile(rf"({IMAGE_ID})(?:[{_SEPARATOR}]({STYLE_NAME}))?")


class ImageVariant(NamedTuple):
    """An image, or with a ``style`` one of its renditions; each has a URL of its own.

    ``str()`` makes the word that sorted sets and hashes in Redis hold.
    """

    image_id: str
    style: str | None = None

    def __str__(self) -> str:
        return self.image_id if self.style is None else f"{self.image_id}{_SEPARATOR}{self.style}"

    @classmethod
    def parse(cls, word: bytes) -> Self:
        """Return the variant that ``str()`` wrote; raises ``ValueError`` for any other word.

        Other programs can write to Redis: a NUL in an id would make the query of a whole batch fail.
        """
        found = _WORD.fullmatch(word.decode("ascii"))
        if found is None:
            raise ValueError("not an image and a style")
        return cls(found[1], found[2])

    @classmethod
    def parse_all(cls, words: Iterable[bytes]) -> tuple[list[Self], list[bytes]]:
        """Return the variants that ``words`` name, and the words that name none."""
        variants: list[Self] = []
        garbage: list[bytes] = []
        for word in words:
            try:
                variants.append(cls.parse(word))
            except ValueError:
                garbage.append(word)
        return variants, garbage


@dataclass(frozen=True, slots=True)
class PresignedUrl:
    """A URL that COS answers until ``expires_at``.

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

    ``read_at`` is when the row was read, in Unix seconds: the record lacks later changes. ``object_id`` follows from
    the record and the style; who makes a signed image passes it, so that reading it runs no code.
    """

    record: ImageRecord
    presigned: PresignedUrl
    style: str | None = None
    read_at: int = 0
    object_id: ObjectId = field(kw_only=True, repr=False, compare=False)
