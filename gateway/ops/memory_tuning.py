"""How the process keeps its memory: set for many small objects that die at once, and for buffers of 256 KiB."""

import ctypes
import gc
from typing import Final

# malloc.h of glibc, mallopt(3): how much may lie free at the end of the heap, how much more is fetched at once, and
# from which size on a block is fetched by itself.
_TRIM_THRESHOLD: Final = (-1, 32 * 1024 * 1024)
_TOP_PAD: Final = (-2, 1024 * 1024)
_MMAP_THRESHOLD: Final = (-3, 4 * 1024 * 1024)


def tune_memory() -> None:
    """To be called when all is loaded, once.

    What is loaded by now stays: the collector need not look at it again and again. Requests make many small objects;
    collecting every 700 of them (the default) takes a twentieth of the time.

    A relayed image goes through the end of the heap. Given back to the system after each piece, it costs one or two
    dozen page faults for a megabyte; glibc is told to keep 32 MiB. Other allocators are left as they are.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in (_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD):
            mallopt(name, value)
