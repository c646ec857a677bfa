"""Memory of many slow streams: the cost of a thousand readers of distinct large images for each server.

    python -m bench.streams [--readers 1000] [--rate 5000] [--size 10m] [--only gateway]

An origin, a bare aiohttp relay, nginx (if it is installed) and the gateway run one after the other, each with the same
readers. Prints the resident memory before, at most and afterwards, the memory of all sockets of the machine
(``/proc/net/sockstat``, which counts both ends of each connection), and how many readers got no 200.
"""

import argparse
import asyncio
import contextlib
import math
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.databases import running_databases, write_configuration
from bench.processes import CLIENT_CORE, SERVER_CORE, free_port, nginx, pinned
from gateway_dev.database import ImageRow

_MIB: Final = 1024 * 1024
_TURN: Final = 0.5  # seconds between two reads of a reader
_OPENED_AT_ONCE: Final = 50
_HEADER_TIMEOUT: Final = 30.0  # seconds
_UNITS: Final = {"k": 1_000, "m": 1_000_000}


@dataclass(frozen=True)
class Target:
    """A running server: prefix of its image addresses, and its process."""

    prefix: str
    pid: int

    def resident(self) -> float:
        """Return the memory of the process and its children in MiB; pages that children share count in each."""
        pages = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if self.pid in (int(stat.parent.name), int(fields[1])):
                    pages += int(fields[21])
        return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def socket_memory() -> float:
    """Return the memory of all TCP sockets of the machine in MiB."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[-1]) * os.sysconf("SC_PAGE_SIZE") / _MIB
    raise RuntimeError("no TCP line in /proc/net/sockstat")


class SlowReaders:
    """Clients that each read ``rate`` bytes a second of a different image."""

    def __init__(self, prefix: str, rate: int) -> None:
        parts = urlsplit(prefix)
        self._address = (parts.hostname or "", parts.port or 80)
        self._path = parts.path
        self._piece = int(rate * _TURN)
        self._open: list[socket.socket] = []
        self.failures = 0

    def open(self, readers: int) -> None:
        """Connect them in groups, and wait for the header of each response."""
        for first in range(0, readers, _OPENED_AT_ONCE):
            waiting = []
            for number in range(first, min(first + _OPENED_AT_ONCE, readers)):
                reader = socket.create_connection(self._address, timeout=_HEADER_TIMEOUT)
                reader.sendall(f"GET {self._path}{number} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
                waiting.append(reader)
            for reader in waiting:
                try:
                    head = reader.recv(self._piece)
                except OSError:
                    head = b""
                if head.startswith(b"HTTP/1.1 200"):
                    reader.setblocking(False)
                    self._open.append(reader)
                else:
                    self.failures += 1
                    reader.close()

    def read(self) -> None:
        """Let each read what its pace allows in a turn; a connection that ends is a failure."""
        for reader in list(self._open):
            try:
                if reader.recv(self._piece):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            self.failures += 1
            self._open.remove(reader)
            reader.close()

    def close(self) -> None:
        """Disconnect."""
        for reader in self._open:
            reader.close()


@dataclass(frozen=True)
class Growth:
    """Resident memory before and at most, memory of all sockets at most (MiB), and readers without a 200."""

    before: float
    most: float
    sockets: float
    failures: int


def growth(target: Target, readers: int, rate: int, seconds: float) -> Growth:
    """Let so many readers take ``rate`` bytes a second for ``seconds``; return what that cost."""
    warm_up = SlowReaders(target.prefix, 10**6)
    warm_up.open(1)
    warm_up.close()
    time.sleep(1)
    before, sockets_before = target.resident(), socket_memory()
    slow = SlowReaders(target.prefix, rate)
    most = sockets = 0.0
    try:
        slow.open(readers)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            turn = time.monotonic() + _TURN
            slow.read()
            most, sockets = max(most, target.resident()), max(sockets, socket_memory() - sockets_before)
            time.sleep(max(0.0, turn - time.monotonic()))
    finally:
        slow.close()
    return Growth(before, most, sockets, slow.failures)


def measure(name: str, target: Target, options: argparse.Namespace) -> None:
    """Print the row of one server."""
    cost = growth(target, options.readers, options.rate, options.seconds)
    time.sleep(options.pause)
    more = cost.most - cost.before
    print(
        f"| {name} | {cost.before:.0f} | {cost.most:.0f} | +{more:.0f} | {more * 1024 / options.readers:.0f} "
        f"| {target.resident():.0f} | {cost.sockets:.0f} | {cost.failures} |",
        flush=True,
    )


@contextlib.contextmanager
def targets(folder: Path, *, readers: int, size: str, only: str) -> Iterator[dict[str, Target]]:
    """Run the servers whose name begins with ``only``, for readers of images of ``size``; yield them by name."""
    folder.chmod(0o755)
    (folder / "none").mkdir()
    origin, proxy, bare, public = (f"http://127.0.0.1:{free_port()}" for _ in range(4))
    running = {}
    with contextlib.ExitStack() as stack:
        python = (sys.executable, "-m")
        command: tuple[str, ...] = (*python, "bench.streams", "--serve", origin[17:], "--size", size)
        stack.enter_context(pinned(CLIENT_CORE, *command, ready=f"{origin}/ready"))
        if "bare relay".startswith(only):
            command = (*python, "bench.bare", bare[17:], origin, str(folder / "none"))
            pid = stack.enter_context(pinned(SERVER_CORE, *command, ready=f"{bare}/relay/ready"))
            running["bare relay"] = Target(f"{bare}/relay/", pid)
        if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") and "nginx".startswith(only):
            http = (
                f"upstream o {{ server {origin[7:]}; keepalive 64; }} server {{ listen {proxy[7:]}; location / {{ "
                'proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; '
                "proxy_max_temp_file_size 0; } }"
            )
            pid = stack.enter_context(nginx(folder, "proxy", SERVER_CORE, http, f"{proxy}/ready"))
            running["nginx"] = Target(f"{proxy}/", pid)
        if "gateway".startswith(only):
            names = map(str, range(readers))
            rows = (ImageRow(name, None, name, content_type="image/png", public=True) for name in names)
            sections = stack.enter_context(running_databases(folder, rows)).sections(origin[7:]) | {
                "server": {"host": "127.0.0.1", "port": int(public[17:]), "max_streams": readers + 10},
                "admin": {"port": free_port()},
                "logging": {"level": "warning"},
            }
            configuration = write_configuration(folder / "gateway.yaml", sections)
            command = (*python, "gateway", "serve", "--config", str(configuration))
            pid = stack.enter_context(pinned(SERVER_CORE, *command, ready=f"{public}/healthz"))
            running["gateway"] = Target(f"{public}/i/", pid)
        yield running


async def serve(port: int, length: int) -> None:
    """Answer each request with an image of ``length`` bytes, until the process is killed."""
    piece = os.urandom(64 * 1024)
    header = (
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
        f'ETag: "bench"\r\nAccept-Ranges: bytes\r\nContent-Length: {length}\r\n\r\n'
    ).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                writer.write(header)
                if request.startswith(b"HEAD"):
                    continue
                for number in range(math.ceil(length / len(piece))):
                    writer.write(piece[: length - number * len(piece)])
                    await writer.drain()
        writer.close()

    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    # In production the buffers of this end are those of COS, so they should not be measured here.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(piece))
    server = await asyncio.start_server(answer, sock=listener)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Measure each server, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.streams")
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=5000, help="bytes a second of a reader")
    parser.add_argument("--size", default="10m", help="of an image: 500k, 10m")
    parser.add_argument("--seconds", type=float, default=30, help="for which the readers read")
    parser.add_argument("--pause", type=float, default=60, help="seconds until the last measurement")
    parser.add_argument("--only", default="", help="bare, nginx or gateway")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    length = int(float(options.size[:-1]) * _UNITS[options.size[-1]])
    if options.serve is not None:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(options.serve, length))
        return
    print("| server | before (MiB) | at most | more | KiB a stream | afterwards | sockets (MiB) | failures |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    chosen = {"readers": options.readers, "size": options.size, "only": options.only}
    with tempfile.TemporaryDirectory(prefix="image-gateway-bench-") as name, targets(Path(name), **chosen) as running:
        for server, target in running.items():
            measure(server, target, options)


if __name__ == "__main__":
    main()
