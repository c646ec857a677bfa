"""Object bytes in memory, in a file, or synthetic. Bytes that are not in memory are read in pieces."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastcrc import crc64

PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests that COS computes when an object is uploaded."""

    md5: str
    """Hexadecimal; in double quotes, the ETag of a simple upload."""
    crc64: int
    """CRC-64/XZ of the whole object, sent in decimal as x-cos-hash-crc64ecma (doc 40334)."""

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> "Digests":
        """Compute both digests in one pass."""
        md5, crc = hashlib.md5(usedforsecurity=False), 0
        for piece in pieces:
            md5.update(piece)
            crc = crc64.xz(piece, crc)
        return cls(md5.hexdigest(), crc)


class Content(ABC):
    """``size`` bytes that can be read in part. Their digests are computed once, in a thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._digests: Digests | None = None

    async def digests(self) -> Digests:
        """Return the digests. Raises OSError if the bytes cannot be read."""
        if self._digests is None:
            self._digests = await asyncio.to_thread(lambda: Digests.of(self._all()))
        return self._digests

    @abstractmethod
    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield bytes [start, stop) in pieces of at most 64 KiB. Raises OSError if they cannot be read."""

    @abstractmethod
    def _all(self) -> Iterator[bytes]: ...


class MemoryContent(Content):
    """Bytes held in memory."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self.data = data

    async def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for offset in range(start, stop, PIECE_BYTES):
            yield self.data[offset : min(offset + PIECE_BYTES, stop)]

    def _all(self) -> Iterator[bytes]:
        yield self.data


class SyntheticContent(Content):
    """A repeating pattern: a large object that needs little memory.

    The default pattern has 251 bytes: with a prime length, bytes from a wrong offset differ from the right bytes.
    """

    def __init__(self, size: int, pattern: bytes = bytes(range(251))) -> None:
        super().__init__(size)
        self.pattern = pattern

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes [start, stop), which tests compare with a received body."""
        length = max(0, min(stop, self.size) - start)
        phase = start % len(self.pattern)
        repeats = (phase + length) // len(self.pattern) + 1
        return (self.pattern * repeats)[phase : phase + length]

    async def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for offset in range(start, stop, PIECE_BYTES):
            yield self.read(offset, min(offset + PIECE_BYTES, stop))

    def _all(self) -> Iterator[bytes]:
        return (self.read(offset, offset + PIECE_BYTES) for offset in range(0, self.size, PIECE_BYTES))


class FileContent(Content):
    """A version of a file. The bytes stay on disk."""

    def __init__(self, path: Path) -> None:
        """Read the file's size and time. Blocks. Raises OSError."""
        status = path.stat()
        super().__init__(status.st_size)
        self.path = path
        self.version = (path, status.st_mtime_ns, status.st_size)
        """Equal for two reads of an unchanged file."""
        self.modified_at = status.st_mtime
        """Unix seconds."""

    async def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        file = await asyncio.to_thread(self._open_at, start)
        try:
            left = stop - start
            while left > 0:
                piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, left))
                if not piece:
                    raise OSError(f"{self.path} became shorter while it was being read")
                left -= len(piece)
                yield piece
        finally:
            file.close()

    def _all(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            yield from iter(lambda: file.read(PIECE_BYTES), b"")

    def _open_at(self, offset: int) -> BinaryIO:
        file = self.path.open("rb")
        file.seek(offset)
        return file
