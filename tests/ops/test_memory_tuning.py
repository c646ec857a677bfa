"""Freed memory is reused instead of being requested from the system again."""

import subprocess
import sys

# Pieces of images come and go, as they do while one is relayed.
_SCRIPT = """
import resource
from gateway.ops import memory_tuning
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
