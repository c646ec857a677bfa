"""Requests for images that are not cached: how many a second, with 32 connections of wrk on the client's core."""

import re
import subprocess
from pathlib import Path

from bench.processes import CLIENT_CORE, Contender
from bench.wrk import CONNECTIONS

# Threads of wrk share no variables, so there is one.
_SCRIPT = """
local n = {first}
request = function()
    n = n + 1
    return wrk.format("GET", string.format("{path}", n))
end
done = function(summary)
    local failed = summary.errors
    print(string.format("RESULT %d %d %d", summary.requests, summary.duration,
        failed.status + failed.connect + failed.read + failed.timeout))
end
"""


class ColdIds:
    """Numbers of rows in Postgres that no request has named."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.last = 0  # the largest number that was named

    def use(self, number: int) -> None:
        """Count so many as named; raises ``RuntimeError`` when there are not enough."""
        self.last += number
        if self.last > self._rows:
            raise RuntimeError("too few rows")


def misses(server: Contender, path: str, ids: ColdIds, seconds: int, folder: Path) -> float:
    """Return the answers a second to requests for ``path``, which takes the number of an id.

    Raises ``RuntimeError`` if a request fails.
    """
    script = folder / "misses.lua"
    script.write_text(_SCRIPT.format(first=ids.last, path=path))
    wrk = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), server.prefix)
    output = subprocess.run(["taskset", "-c", CLIENT_CORE, *wrk], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+)", output)
    if found is None or int(found[3]):
        raise RuntimeError(f"{path}: {output}")
    ids.use(int(found[1]) + 2 * CONNECTIONS)
    return int(found[1]) * 1e6 / int(found[2])
