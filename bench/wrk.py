"""wrk on a core of its own, asking for many images in turn."""

import re
import subprocess
from pathlib import Path

from bench.contenders import CLIENT_CORE, COUNTS

CONNECTIONS = 32
# Each image in turn: one address alone would be relayed once for all who ask at the same time.
_SCRIPT = """
local n = 0
request = function()
    n = n + 1
    return wrk.format("GET", "{path}" .. (n % {count}))
end
"""


def rate(prefix: str, size: str, seconds: int, folder: Path) -> float:
    """Requests answered a second; raises ``RuntimeError`` when some were not answered properly."""
    base, _, path = prefix.removeprefix("http://").partition("/")
    script = folder / "script.lua"
    script.write_text(_SCRIPT.format(path=f"/{path}{size}-", count=COUNTS[size]))
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    output = subprocess.run([*command, f"http://{base}"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or re.search(r"(connect|read|write) [1-9]", output):
        raise RuntimeError(f"{prefix}{size}: {output}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    if found is None:
        raise RuntimeError(output)
    return float(found[1])
