"""Time from a committed row to the last old byte of nginx: median, p99 and worst.

    python -m bench.withdrawals [--changes 1000] [--at-once 20]

nginx with ``gateway-cache.conf`` stands in front of two gateways and is under load by wrk. Each change lets a row name
another object once nginx has a copy, and is over when nginx has answered with that object ten times in a row.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp

from bench.contenders import MODES
from bench.peers import forgetting_nginx
from bench.processes import CLIENT_CORE, program
from bench.stack import COUNTS, Stack, gateway, running_stack
from bench.wrk import CONNECTIONS
from gateway_dev.database import ImageRow

_PAUSE = 0.002  # seconds between two requests for a changed image
_NEW_IN_A_ROW = 10
_LOAD = """
local n = 0
request = function()
    n = n + 1
    return wrk.format("GET", "/i/4k-" .. (n % {count}))
end
"""


def summary(seconds: Sequence[float]) -> str:
    """Return median, 99th percentile and worst of these times, in milliseconds."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    median, p99, worst = (round(1000 * value) for value in (statistics.median(ordered), p99, ordered[-1]))
    return f"{len(ordered)} changes: median {median} ms, p99 {p99} ms, worst {worst} ms (goal: p99 500 ms)"


@contextmanager
def _under_load(address: str, folder: Path) -> Iterator[None]:
    script = folder / "load.lua"
    script.write_text(_LOAD.format(count=COUNTS["4k"]))
    command = ("taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", "-d3600s", "-s", str(script), address)
    load = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        load.terminate()
        load.wait()


class _Changes:
    """Changes rows and measures; ``left`` counts the changes that are still to be made."""

    def __init__(self, stack: Stack, address: str, session: aiohttp.ClientSession, changes: int) -> None:
        self._stack = stack
        self._address = address
        self._session = session
        self.left = changes
        self.seconds: list[float] = []

    async def change_in_turn(self, number: int) -> None:
        """Let one row name one of two objects and the other one in turn, until no change is left."""
        image_id = f"changing-{number}"
        contents = [(self._stack.folder / "images" / f"4k-{which}").read_bytes() for which in (0, 1)]
        row = ImageRow(image_id, None, "4k-0", content_type="image/png", public=True)
        await asyncio.to_thread(self._stack.databases.table.put, [row])
        new = 0
        while self.left > 0:
            self.left -= 1
            while await self._answer(image_id) != (contents[new], True):
                await asyncio.sleep(_PAUSE)
            new = 1 - new
            await asyncio.to_thread(
                self._stack.databases.table.execute,
                "UPDATE images SET cos_key = %s WHERE id = %s",
                f"4k-{new}",
                image_id,
            )
            self.seconds.append(await self._until_new(image_id, contents[new]))

    async def _until_new(self, image_id: str, content: bytes) -> float:
        """Return the seconds until the end of the last answer that was not new."""
        committed = last = time.perf_counter()
        in_a_row = 0
        while in_a_row < _NEW_IN_A_ROW:
            is_new = (await self._answer(image_id))[0] == content
            in_a_row = in_a_row + 1 if is_new else 0
            last = last if is_new else time.perf_counter()
            await asyncio.sleep(_PAUSE)
        return last - committed

    async def _answer(self, image_id: str) -> tuple[bytes, bool]:
        """Return the image, and whether it comes from nginx's cache."""
        async with self._session.get(f"{self._address}/i/{image_id}") as answer:
            return await answer.read(), "nginx; hit" in answer.headers.getall("Cache-Status", [])


async def _measure(stack: Stack, address: str, changes: int, at_once: int) -> list[float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        all_changes = _Changes(stack, address, session, changes)
        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                group.create_task(all_changes.change_in_turn(number), name=f"changes-{number}")
    return all_changes.seconds


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(prog="python -m bench.withdrawals", description=__doc__)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=20, help="rows that change at the same time")
    options = parser.parse_args()
    if missing := [name for name in ("nginx", "wrk", "taskset") if program(name) is None]:
        sys.exit(f"it needs {' and '.join(missing)}: apt-get install nginx wrk util-linux libnginx-mod-http-js")
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="image-gateway-bench-")))
        stack = servers.enter_context(running_stack(folder))
        gateways = [servers.enter_context(gateway(stack, f"gateway-{n}", MODES["memory"])) for n in range(2)]
        nginx = servers.enter_context(forgetting_nginx(stack, "withdrawals", "gateway-cache.conf", gateways))
        address = nginx.prefix.removesuffix("/i/")
        servers.enter_context(_under_load(address, folder))
        print(summary(asyncio.run(_measure(stack, address, options.changes, options.at_once))))


if __name__ == "__main__":
    main()
