"""Statuses of images of 10 MB that many slow readers request at the same moment, and how long they wait for them.

    python -m bench.slow_readers_errors [--readers 1000] [--rate 5000] [--seconds 30]

Each reader requests a different image, which is not cached, and then reads 5 kB a second. The gateway runs on the
first core; an nginx as the origin and the readers share the second. Exits with 1 if a reader gets no 200, or loses its
connection. The kernel's own limit is shown beside: pages of TCP buffers in use, of those it may take (tcp(7)).
"""

import argparse
import asyncio
import contextlib
import os
import re
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.databases import running_databases, write_configuration
from bench.processes import CLIENT_CORE, SERVER_CORE, free_port, nginx, pinned
from gateway_dev.database import ImageRow

_SIZE = 10_000_000
_RECEIVE_BUFFER = 16 * 1024  # bytes; as small as that of a reader on a slow line
_FIRST_BYTE_WITHIN = 60.0  # seconds
_CODE = re.compile(rb'"code": ?"(\w+)"')


@dataclass
class Outcome:
    """The results of the readers: the number of each status, the seconds until it came, and the codes of the errors."""

    statuses: "Counter[str]" = field(default_factory=Counter)
    codes: "Counter[str]" = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether every reader got its image, as far as it read."""
        return set(self.statuses) == {"200"}


async def read_slowly(port: int, path: str, rate: int, ends_at: float, outcome: Outcome) -> None:
    """Ask for the image and read it at ``rate`` bytes a second until ``ends_at`` (monotonic seconds)."""
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        reader.setblocking(False)
        try:
            async with asyncio.timeout(_FIRST_BYTE_WITHIN):
                await loop.sock_connect(reader, ("127.0.0.1", port))
                await loop.sock_sendall(reader, f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
                head = await loop.sock_recv(reader, 2048)
            outcome.waits.append(time.monotonic() - began)
            status = head[9:12].decode() or "no answer"
            if status != "200" and (code := _CODE.search(head)) is not None:
                outcome.codes[code[1].decode()] += 1
            while status == "200" and time.monotonic() < ends_at:
                await asyncio.sleep(1)
                if not await loop.sock_recv(reader, rate):
                    status = "cut off"
        except (OSError, TimeoutError) as error:
            status = type(error).__name__
    outcome.statuses[status] += 1


async def read_all(port: int, prefix: str, readers: int, rate: int, seconds: float) -> Outcome:
    """Start all readers at once, and wait for them."""
    outcome = Outcome()
    ends_at = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(readers):
            group.create_task(read_slowly(port, f"{prefix}{number}", rate, ends_at, outcome), name=f"reader-{number}")
        group.create_task(_show_pages(ends_at), name="tcp-pages")
    return outcome


async def _show_pages(ends_at: float) -> None:
    most = 0
    while time.monotonic() < ends_at:
        most = max(most, _tcp_pages())
        await asyncio.sleep(0.5)
    limits = Path("/proc/sys/net/ipv4/tcp_mem").read_text().split()
    print(f"TCP buffers: {most:,} pages at most; pressure from {int(limits[1]):,}, limit {int(limits[2]):,}")


def _tcp_pages() -> int:
    sockets = Path("/proc/net/sockstat").read_text().split()
    return int(sockets[sockets.index("mem") + 1])


@contextlib.contextmanager
def servers(folder: Path, readers: int) -> Iterator[tuple[int, int, int]]:
    """Run the origin, a bare relay and the gateway; yield the ports of the three."""
    folder.chmod(0o755)
    (folder / "images").mkdir()
    (folder / "images" / "image").write_bytes(os.urandom(1000) * (_SIZE // 1000))
    origin, relay, public = free_port(), free_port(), free_port()
    files = f"listen 127.0.0.1:{origin} backlog=4096; root {folder}/images; location / {{ try_files /image =404; }}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            nginx(folder, "origin", CLIENT_CORE, f"server {{ {files} }}", f"http://127.0.0.1:{origin}/image")
        )
        rows = (
            ImageRow(str(number), None, f"o/{number}", content_type="image/png", public=True)
            for number in range(readers)
        )
        databases = stack.enter_context(running_databases(folder, rows))
        sections = databases.sections(f"127.0.0.1:{origin}") | {
            "server": {"host": "127.0.0.1", "port": public, "max_streams": readers + 100},
            "admin": {"port": free_port()},
            "logging": {"level": "error"},
        }
        configuration = write_configuration(folder / "gateway.yaml", sections)
        bare = (str(relay), f"http://127.0.0.1:{origin}", str(folder / "images"))
        stack.enter_context(
            pinned(
                SERVER_CORE, sys.executable, "-m", "bench.bare", *bare, ready=f"http://127.0.0.1:{relay}/redirect/image"
            )
        )
        command = (sys.executable, "-m", "gateway", "serve", "--config", str(configuration))
        stack.enter_context(pinned(SERVER_CORE, *command, ready=f"http://127.0.0.1:{public}/healthz"))
        yield origin, relay, public


def main() -> None:
    """Start the servers, and send the readers to the gateway and to a bare relay."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow_readers_errors")
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=5000, help="bytes a second for each reader")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="image-gateway-bench-") as folder:
        with servers(Path(folder), options.readers) as (_, relay, public):
            os.sched_setaffinity(0, {int(CLIENT_CORE)})
            outcomes = []
            for name, port, prefix in (("bare relay", relay, "/relay/"), ("gateway", public, "/i/")):
                outcome = asyncio.run(read_all(port, prefix, options.readers, options.rate, options.seconds))
                waits = sorted(outcome.waits)
                print(
                    f"{name}: {dict(outcome.statuses)} {dict(outcome.codes) or ''}; first byte after "
                    f"{statistics.median(waits):.1f} s, the last after {waits[-1]:.1f} s"
                )
                outcomes.append(outcome)
    sys.exit(0 if outcomes[-1].is_well else 1)


if __name__ == "__main__":
    main()
