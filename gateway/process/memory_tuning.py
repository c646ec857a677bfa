"""Tuning of garbage collection and malloc for many short-lived objects and for buffers of 256 KiB."""

import asyncio
import ctypes
import gc
from typing import Final

# New objects, then collections of the generation before (gc.set_threshold): young, middle and old objects.
_COLLECT_AFTER: Final = (2_000, 5, 800)
# Parameter and value in bytes (glibc malloc.h, mallopt(3)): how much stays free at the end of the heap, how much is
# requested in addition when the heap grows, and from which size on a block gets its own mapping.
_TRIM_THRESHOLD: Final = (-1, 32 * 1024 * 1024)
_TOP_PAD: Final = (-2, 1024 * 1024)
_MMAP_THRESHOLD: Final = (-3, 4 * 1024 * 1024)
_RELEASE_INTERVAL: Final = 20.0  # seconds


def tune_memory() -> None:
    """Tune the process once, after every module is imported: these stay, and no collection looks at them again.

    To collect after every 700 new objects, the default, takes a twentieth of the time. A collection of 2,000 objects
    takes up to 3 ms if most of them are garbage, and one of 20,000 up to 25 ms. A full collection takes a millisecond
    for every 5,000 of all objects, so it runs once in 8 million new ones. URLs in memory are left out (``untrack``).

    The buffers of a relayed image are at the end of the heap. Returning them to the system after each chunk costs one
    or two dozen page faults for each megabyte, so glibc keeps 32 MiB. Other allocators are not tuned.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for name, value in (_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD):
            mallopt(name, value)


async def release_free_memory(interval: float = _RELEASE_INTERVAL) -> None:
    """Return memory that is free to the system, every ``interval`` seconds, until cancelled. Only with glibc.

    By default glibc returns only the end of the heap (malloc_trim(3)). After a thousand slow streams most free memory
    is between blocks in use, and would stay resident until the process ends.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(interval)
        # In a thread, without the interpreter's lock. But glibc locks the heap: allocations larger than Python's own
        # small blocks wait, for 30 ms while 160 MB are returned.
        await asyncio.to_thread(trim, 0)
