"""The stream of the log: writes whole lines, also if a signal interrupts a write or several workers share one pipe."""

import io
import os
import select
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A pipe takes so many bytes in one piece, with nothing of another process in between (pipe(7)).
_ATOMIC: Final = select.PIPE_BUF


class WholeLines(io.BufferedIOBase):
    """Writes to the file ``descriptor``, each time as many whole lines as a pipe takes in one piece.

    A longer line is complete, but lines of other processes may stand in it.
    """

    name = "<stderr>"

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock = threading.RLock()  # a finalizer that logs may run in any line of this class

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether the file is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of ``data``; raises ``OSError`` if the file takes no more."""
        text = bytes(data)
        with self._lock:
            for lines in _grouped(text):
                self._write_all(lines)
        return len(text)

    def _write_all(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # the pipe is full, and non-blocking, since the process inherited it so
                select.select((), (self._descriptor,), ())


def standard_error() -> TextIO:
    """Return a stream to standard error that writes whole lines; ``sys.stderr`` itself if it is not a file.

    With PYTHONUNBUFFERED, as in the container, ``sys.stderr`` loses the rest of a write that a signal interrupts.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError):  # sys.stderr is None, or not a file
        return sys.stderr
    lines = WholeLines(descriptor)
    return io.TextIOWrapper(lines, sys.stderr.encoding, errors="backslashreplace", write_through=True)


def _grouped(text: bytes) -> Iterator[memoryview]:
    view, start = memoryview(text), 0
    while start < len(text):
        end = start + _ATOMIC
        if end < len(text):
            end = (text.rfind(b"\n", start, end) + 1) or (text.find(b"\n", end) + 1) or len(text)
        yield view[start:end]
        start = end
