"""uvloop's event loop, for libraries whose descriptors are closed by others; `server.loop: uvloop` alone imports it."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvloop


class Loop(uvloop.Loop):
    """uvloop, which watches a duplicate of each descriptor that is given by its number.

    libpq closes the sockets that aiopg watches, and after an error uvloop 0.23 keeps a closed handle under the number
    of the descriptor. It then refuses the next socket with this number (``RuntimeError``), whichever server it
    belongs to: requests failed after an outage of Postgres. Nothing else closes a duplicate, or gets its number.
    """

    def __init__(self) -> None:
        super().__init__()
        self._duplicates: dict[int, int] = {}
        self._watched: set[tuple[int, str]] = set()  # duplicates, and what they are watched for

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Call ``callback`` when ``fd`` is readable."""
        super().add_reader(self._duplicate(fd, "reader"), callback, *args)

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Call ``callback`` when ``fd`` is writable."""
        super().add_writer(self._duplicate(fd, "writer"), callback, *args)

    def remove_reader(self, fd: Any) -> bool:  # type: ignore[override]
        """Stop watching ``fd``; return whether it was watched."""
        return self._remove(fd, "reader", super().remove_reader)

    def remove_writer(self, fd: Any) -> bool:  # type: ignore[override]
        """Stop watching ``fd``; return whether it was watched."""
        return self._remove(fd, "writer", super().remove_writer)

    def close(self) -> None:
        """Close the loop and the duplicates that are left."""
        super().close()
        for duplicate in self._duplicates.values():
            os.close(duplicate)
        self._duplicates.clear()

    def _duplicate(self, fd: Any, purpose: str) -> Any:
        if not isinstance(fd, int):
            return fd
        duplicate = self._duplicates.get(fd)
        if duplicate is not None and not _is_same(fd, duplicate):  # the number now belongs to another socket
            self._drop(fd, duplicate)
            duplicate = None
        if duplicate is None:
            duplicate = self._duplicates[fd] = os.dup(fd)
        self._watched.add((duplicate, purpose))
        return duplicate

    def _remove(self, fd: Any, purpose: str, remove: Callable[[Any], object]) -> bool:
        duplicate = self._duplicates.get(fd) if isinstance(fd, int) else None
        if duplicate is None:
            return bool(remove(fd))
        was_watched = (duplicate, purpose) in self._watched
        self._watched.discard((duplicate, purpose))
        remove(duplicate)
        if not self._watched & {(duplicate, "reader"), (duplicate, "writer")}:
            self._drop(fd, duplicate)
        return was_watched

    def _drop(self, fd: int, duplicate: int) -> None:
        self._watched -= {(duplicate, "reader"), (duplicate, "writer")}
        super().remove_reader(duplicate)
        super().remove_writer(duplicate)
        del self._duplicates[fd]
        os.close(duplicate)


def _is_same(fd: int, duplicate: int) -> bool:
    with suppress(OSError):  # closed
        one, other = os.fstat(fd), os.fstat(duplicate)
        return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    return False
