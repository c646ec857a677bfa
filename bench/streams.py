"""Memory of many slow streams: the cost of readers of distinct large images for a server."""

import asyncio
import contextlib
import math
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.databases import running_databases, write_configuration
from bench.processes import CLIENT_CORE, SERVER_CORE, pinned
from bench.stack import SIZES
from gateway_dev.database import ImageRow
from gateway_dev.processes import free_port

_MIB: Final = 1024 * 1024
_TURN: Final = 0.5  # seconds between two reads of a reader
_OPENED_AT_ONCE: Final = 50
_HEADER_TIMEOUT: Final = 30.0  # seconds


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
    """Resident memory that was needed at most, in MiB, and readers without a 200."""

    more: float
    failures: int


def growth(target: Target, readers: int, rate: int, seconds: float) -> Growth:
    """Let so many readers take ``rate`` bytes a second for ``seconds``; return what that cost."""
    warm_up = SlowReaders(target.prefix, 10**6)
    warm_up.open(1)
    warm_up.close()
    time.sleep(1)
    before = target.resident()
    slow = SlowReaders(target.prefix, rate)
    most = 0.0
    try:
        slow.open(readers)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            turn = time.monotonic() + _TURN
            slow.read()
            most = max(most, target.resident())
            time.sleep(max(0.0, turn - time.monotonic()))
    finally:
        slow.close()
    return Growth(most - before, slow.failures)


@contextlib.contextmanager
def running(server: str, folder: Path, readers: int, size: str) -> Iterator[Target]:
    """Run the gateway, or "bare relay", before an origin of images of ``size``."""
    folder.chmod(0o755)
    (folder / "none").mkdir()
    origin, bare, public = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
    with contextlib.ExitStack() as stack:
        python = (sys.executable, "-m")
        command: tuple[str, ...] = (*python, "bench.streams", origin[17:], size)
        stack.enter_context(pinned(CLIENT_CORE, *command, ready=f"{origin}/ready"))
        if server == "bare relay":
            command = (*python, "bench.bare", bare[17:], origin, str(folder / "none"))
            pid = stack.enter_context(pinned(SERVER_CORE, *command, ready=f"{bare}/relay/ready"))
            yield Target(f"{bare}/relay/", pid)
            return
        rows = (ImageRow(name, None, name, content_type="image/png", public=True) for name in map(str, range(readers)))
        sections = stack.enter_context(running_databases(folder, rows)).sections(origin[7:]) | {
            "server": {"host": "127.0.0.1", "port": int(public[17:]), "max_streams": readers + 10},
            "admin": {"port": free_port()},
            "logging": {"level": "warning"},
        }
        configuration = write_configuration(folder / "gateway.yaml", sections)
        command = (*python, "gateway", "serve", "--config", str(configuration))
        pid = stack.enter_context(pinned(SERVER_CORE, *command, ready=f"{public}/healthz"))
        yield Target(f"{public}/i/", pid)


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


if __name__ == "__main__":  # the origin
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), SIZES[sys.argv[2]]))
