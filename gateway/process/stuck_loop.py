"""Ends the process when its event loop is stuck. A thread looks, so it works without a service manager."""

import asyncio
import faulthandler
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STUCK: Final = 70  # the exit status: EX_SOFTWARE of sysexits.h

_SECONDS: Final = 10.0
_LOOKS: Final = 20  # in that time
_WRITING: Final = 1.0  # seconds for the reader of standard error, which may be paused


@contextmanager
def exit_when_stuck(seconds: float = _SECONDS) -> Iterator[None]:
    """Exit with ``STUCK`` if the running event loop makes no turn for ``seconds`` within the block.

    The stack of every thread is written to standard error before.
    """
    loop, is_over, has_turned = asyncio.get_running_loop(), threading.Event(), threading.Event()

    def watch() -> None:
        # Looks of this thread are counted, not seconds: if the process or the machine is paused, it does not look.
        looks = 0
        has_turned.set()
        while not is_over.wait(seconds / _LOOKS):
            if has_turned.is_set():
                has_turned.clear()
                loop.call_soon_threadsafe(has_turned.set)
                looks = 0
            elif (looks := looks + 1) >= _LOOKS:
                _exit(seconds)

    thread = threading.Thread(target=watch, name="stuck-loop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _exit(seconds: float) -> None:
    text = f"the event loop was stuck for {seconds:g} s: exit code {STUCK}\n".encode() + _stacks()
    # The log may be locked by the thread that is stuck, and standard error may be a full pipe.
    writing = threading.Thread(target=os.write, args=(2, text), name="stacks", daemon=True)
    writing.start()
    writing.join(_WRITING)
    os._exit(STUCK)


def _stacks() -> bytes:
    """Return the stacks of all threads, as much as a pipe holds: ``faulthandler`` writes only to files."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    faulthandler.dump_traceback(writer)
    os.close(writer)
    return os.read(reader, 1 << 16)
