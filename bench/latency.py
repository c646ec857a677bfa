"""Latency at half load.

Requests arrive at random (Poisson) at half of the gateway's highest rate, however long the answers take: a request
that finds the server busy waits, and its time counts from its arrival (an open loop, as real clients are).
"""

import collections
import random
import select
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.processes import Contender
from bench.stack import COUNTS

# Mode of the gateway, image size, and the server to compare with.
ROWS = [("memory", "4k", "bare bytes"), ("stream", "4k", "bare relay"), ("stream", "100k", "bare relay")]
_CONNECTIONS = 64


@dataclass
class _Connection:
    """A kept-alive connection: the arrival of the current request, and the missing bytes of its response."""

    socket: socket.socket
    arrived_at: float = 0.0
    head: bytes = b""
    missing: int = -1  # unknown before the end of the head

    def request(self, path: str, arrived_at: float) -> None:
        """Send a request that arrived at this time."""
        self.arrived_at, self.head, self.missing = arrived_at, b"", -1
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def receive(self) -> bool:
        """Take what there is; return whether the response is complete. Raises ``RuntimeError`` for any but 200."""
        piece = self.socket.recv(256 * 1024)
        if not piece:
            raise RuntimeError("the server closed a connection")
        if self.missing >= 0:
            self.missing -= len(piece)
            return self.missing == 0
        self.head += piece
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode(errors="replace"))
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        self.missing = int(length) - len(body)
        return self.missing == 0


@dataclass
class _Load:
    """Requests that wait for a connection, connections without a request, and the latencies so far (seconds)."""

    connections: list[_Connection]
    waiting: "collections.deque[float]" = field(default_factory=collections.deque)
    latencies: list[float] = field(default_factory=list)


def latencies(contender: Contender, size: str, per_second: float, seconds: float, seed: int) -> list[float]:
    """Return the latency of each request, in seconds, sorted."""
    address = urlsplit(contender.prefix)
    assert address.hostname is not None  # noqa: S101
    server = (address.hostname, address.port or 80)
    load = _Load([_Connection(socket.create_connection(server)) for _ in range(_CONNECTIONS)])
    by_socket = {connection.socket: connection for connection in load.connections}
    idle = list(load.connections)
    for connection in load.connections:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    chance = random.Random(seed)  # noqa: S311
    number = 0
    next_arrival = time.perf_counter() + chance.expovariate(per_second)
    ends_at = time.perf_counter() + seconds
    while True:
        now = time.perf_counter()
        while next_arrival <= now and next_arrival < ends_at:
            load.waiting.append(next_arrival)
            next_arrival += chance.expovariate(per_second)
        while load.waiting and idle:
            number += 1
            idle.pop().request(
                f"{address.path}{size}-{number % COUNTS[size]}{contender.suffix}", load.waiting.popleft()
            )
        if next_arrival >= ends_at and not load.waiting and len(idle) == len(load.connections):
            break
        # select(2) and not epoll(7), whose time-outs are whole milliseconds
        ready, _, _ = select.select(by_socket, (), (), max(0.0, min(0.1, next_arrival - time.perf_counter())))
        for readable in ready:
            connection = by_socket[readable]
            if connection.receive():
                load.latencies.append(time.perf_counter() - connection.arrived_at)
                idle.append(connection)
    for connection in load.connections:
        connection.socket.close()
    return sorted(load.latencies)


def p99(sorted_latencies: list[float]) -> float:
    """Return the 99th percentile in milliseconds."""
    return 1000 * sorted_latencies[min(len(sorted_latencies) - 1, int(len(sorted_latencies) * 0.99))]
