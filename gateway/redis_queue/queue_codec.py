"""How the items of a queue are written in Redis."""

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Codec(NamedTuple, Generic[T]):
    """The words of items in Redis. ``decode`` raises ``ValueError`` for a word that ``encode`` did not write."""

    encode: Callable[[T], str]
    decode: Callable[[bytes], T]

    def decode_all(self, words: Iterable[bytes]) -> tuple[dict[bytes, T], list[bytes]]:
        """Return the items by their words, and the words that cannot be decoded."""
        found: dict[bytes, T] = {}
        garbage: list[bytes] = []
        for word in words:
            try:
                found[word] = self.decode(word)
            except ValueError:
                garbage.append(word)
        return found, garbage
