"""wrk on its own core, requesting many images in turn."""

import re
import subprocess
from pathlib import Path

from bench.contenders import CLIENT_CORE, COUNTS, SIZES, Contender

CONNECTIONS = 32
_LARGE = 1_000_000
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Requests each image in turn: concurrent requests for one image would share one transfer.
_SCRIPT = """
local n = 0
request = function()
    n = n + 1
    return wrk.format("GET", "{path}" .. (n % {count}) .. "{suffix}")
end
"""


def rate(contender: Contender, size: str, seconds: int, folder: Path, *, per_cpu: bool = False) -> float:
    """Return the images served per second, or per second of the server's processor time with ``per_cpu``.

    Large images are counted by the bytes received, so that unfinished ones count in part. Raises ``RuntimeError``
    after a response that is not 2xx or a connection error.
    """
    prefix = contender.prefix
    used = contender.cpu_seconds()
    base, _, path = prefix.removeprefix("http://").partition("/")
    script = folder / "script.lua"
    script.write_text(_SCRIPT.format(path=f"/{path}{size}-", count=COUNTS[size], suffix=contender.suffix))
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    output = subprocess.run([*command, f"http://{base}"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or re.search(r"(connect|read|write) [1-9]", output):
        raise RuntimeError(f"{prefix}{size}: {output}")
    used = contender.cpu_seconds() - used
    done = re.search(r"([0-9]+) requests in ([0-9.]+)s, ([0-9.]+)([KMG]?)B read", output)
    if done is None:
        raise RuntimeError(output)
    images = int(done[1])
    if SIZES[size] >= _LARGE:
        images = int(float(done[3]) * _UNITS[done[4]] / SIZES[size])
    return images / (used if per_cpu else float(done[2]))
