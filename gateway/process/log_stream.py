"""The stream of the log: a bounded queue, and a thread that writes whole lines from it to standard error.

A reader that stalls (a paused journald, a log driver, ``less``) fills its pipe, and the next write waits for it. Only
the thread waits: a request never does.
"""

import os
import select
import sys
import threading
from collections.abc import Iterator
from typing import Final, TextIO

# A pipe takes so many bytes in one piece, with nothing of another process in between (pipe(7)).
_ATOMIC: Final = select.PIPE_BUF
_MOST_WAITING: Final = 1 << 20  # bytes: two thousand lines or more


class LogStream:
    """Writes log lines to the file ``descriptor`` in a thread, each time as many whole lines as a pipe takes at once.

    A line longer than that is complete, but lines of other processes may stand in it. ``dropped`` counts the lines that
    were not written: they came while ``most_waiting`` bytes waited for the reader, or the file took no more.
    """

    def __init__(self, descriptor: int, *, encoding: str = "utf-8", most_waiting: int = _MOST_WAITING) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._most_waiting = most_waiting
        self.dropped = 0
        # Reentrant: a finalizer that logs may run in any line of this class.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_closing = False
        self._is_cut_off = False
        self._thread = threading.Thread(target=self._write_waiting, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str, /) -> None:
        """Queue whole lines, and return at once."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._waiting_bytes + len(data) > self._most_waiting:
                self.dropped += data.count(b"\n")
                return
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify()

    def flush(self) -> None:
        """Do nothing: the thread writes lines as soon as the file takes them."""

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def close(self, timeout: float) -> None:
        """Write what waits, for at most ``timeout`` seconds, and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _write_waiting(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._is_closing:
                        return
                    self._changed.wait()
                waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            for lines in _grouped(b"".join(waiting)):
                self._write_lines(lines)

    def _write_lines(self, lines: memoryview) -> None:
        rest = memoryview(b"\n" + lines) if self._is_cut_off else lines
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:  # the pipe is full, and non-blocking, since the process inherited it so
                    select.select((), (self._descriptor,), ())
                else:
                    self._is_cut_off = len(rest) > 0
        except OSError:  # the disk is full, or the reader has ended
            with self._changed:
                self.dropped += bytes(rest).count(b"\n")


LogOutput = LogStream | TextIO  # where the log goes


def standard_error() -> LogOutput:
    """Return a stream to standard error that never waits, or ``sys.stderr`` itself if that is not a file.

    With PYTHONUNBUFFERED, as in the container, ``sys.stderr`` would lose the rest of a write that a signal interrupts.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError):  # sys.stderr is None, or not a file
        return sys.stderr
    return LogStream(descriptor, encoding=sys.stderr.encoding)


def _grouped(text: bytes) -> Iterator[memoryview]:
    view, start = memoryview(text), 0
    while start < len(text):
        end = start + _ATOMIC
        if end < len(text):
            end = (text.rfind(b"\n", start, end) + 1) or (text.find(b"\n", end) + 1) or len(text)
        yield view[start:end]
        start = end
