"""An image in one style, as one word: what sets and queues in Redis hold."""

import re
from collections.abc import Iterable
from typing import NamedTuple, Self

from gateway.catalog.image_id import PATTERN as IMAGE_ID
from gateway.settings import STYLE_NAME

_SEPARATOR = "|"  # neither in an id nor in the name of a style
_WORD = re.compile(rf"({IMAGE_ID})(?:[{_SEPARATOR}]({STYLE_NAME}))?")


class ImageVariant(NamedTuple):
    """An image, or with a ``style`` one of its renditions; each has a URL of its own."""

    image_id: str
    style: str | None = None

    def __str__(self) -> str:
        return self.image_id if self.style is None else f"{self.image_id}{_SEPARATOR}{self.style}"

    @classmethod
    def parse(cls, word: bytes) -> Self:
        """Return the member that ``str()`` made; raises ``ValueError`` for any other word.

        Others can write to Redis too: a NUL in an id would make the query of a whole batch fail.
        """
        found = _WORD.fullmatch(word.decode("ascii"))
        if found is None:
            raise ValueError("no image and style")
        return cls(found[1], found[2])

    @classmethod
    def parse_all(cls, words: Iterable[bytes]) -> tuple[list[Self], list[bytes]]:
        """Return the members among ``words``, and the words that are none."""
        variants: list[Self] = []
        garbage: list[bytes] = []
        for word in words:
            try:
                variants.append(cls.parse(word))
            except ValueError:
                garbage.append(word)
        return variants, garbage
