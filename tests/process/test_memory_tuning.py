"""Freed memory is reused instead of being requested from the system again, and returned to it every now and then."""

import subprocess
import sys

# Pieces of images come and go, as they do while one is relayed.
_SCRIPT = """
import resource
from gateway.process import memory_tuning
{settled}
def relay():
    pieces = [b"x" * 262_144 for _ in range(8)]
relay(); relay()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    relay()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(settled: str) -> int:
    """Return the number of page faults for a hundred images of 2 MiB in a separate process."""
    script = _SCRIPT.format(settled=settled)
    return int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout)


def test_buffers_are_not_returned_to_the_system_after_each_chunk() -> None:
    assert faults("memory_tuning.tune_memory()") < 100
    assert faults("") > 1000, "which is what the settings are for"


# Blocks in use are between free ones, as after many streams.
_HOLES = """
import asyncio
import psutil
from gateway.concurrency.background import background
from gateway.process.memory_tuning import release_free_memory
from tests.limits import LIMIT
blocks = [b"x" * 60_000 for _ in range(2000)]
kept = blocks[::10]
del blocks
async def returned():
    before = psutil.Process().memory_info().rss
    async with background("memory-release", release_free_memory(0.01)), asyncio.timeout(LIMIT):
        while psutil.Process().memory_info().rss > before - 50_000_000:
            await asyncio.sleep(0.01)
asyncio.run(returned())
"""


def test_free_memory_between_blocks_in_use_is_returned_to_the_system() -> None:
    subprocess.run([sys.executable, "-c", _HOLES], check=True)
