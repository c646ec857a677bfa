"""An image in one style, as one word: what sets and queues in Redis hold."""

from typing import NamedTuple, Self

_SEPARATOR = "|"  # neither in an id nor in the name of a style


class Member(NamedTuple):
    """An image, or with a ``style`` one of its renditions; each has a URL of its own."""

    image_id: str
    style: str | None = None

    def __str__(self) -> str:
        return self.image_id if self.style is None else f"{self.image_id}{_SEPARATOR}{self.style}"

    @classmethod
    def parse(cls, word: bytes) -> Self:
        """The member that ``str()`` made; raises ``ValueError`` for what it cannot have made."""
        image_id, _, style = word.decode("ascii").partition(_SEPARATOR)
        return cls(image_id, style or None)
