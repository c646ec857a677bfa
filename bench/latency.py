"""Latency at half load: ``python -m bench.latency [--rounds 5] [--seconds 5] [--only stream] [--clients 8]``.

Requests arrive at random (Poisson) at half of the gateway's highest rate, however long the answers take: a request
that finds the server busy waits, and its time counts from its arrival (an open loop, as real clients are). Origin, bare
relay and gateway take turns at the same rate; the table shows the medians of the rounds, and the 99th percentile over
that of the origin in the same round. The baseline is measured at half of its own highest rate, too: at equal rates, the
server that can do more waits less, since it is less busy.

With ``--clients`` that many clients send a request once they have an answer (a closed loop), and the table shows the
99th percentiles of gateway and baseline.
"""

import argparse
import collections
import contextlib
import os
import random
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.contenders import gateways_and_baselines
from bench.processes import CLIENT_CORE, Contender
from bench.stack import COUNTS, running_stack
from bench.wrk import p99, rate

# Mode of the gateway, image size, and the server to compare with.
ROWS = [("memory", "4k", "bare bytes"), ("stream", "4k", "bare relay"), ("stream", "100k", "bare relay")]
_CONNECTIONS = 64
_PERCENTILES = (0.5, 0.99, 0.999)


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


def percentiles(sorted_latencies: list[float]) -> list[float]:
    """Return the percentiles in milliseconds."""
    return [
        1000 * sorted_latencies[min(len(sorted_latencies) - 1, int(len(sorted_latencies) * share))]
        for share in _PERCENTILES
    ]


@contextlib.contextmanager
def _contenders() -> Iterator[tuple[Path, dict[str, Contender]]]:
    """Run all servers; yield a folder, and the servers by name."""
    with contextlib.ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="image-gateway-bench-")))
        stack = servers.enter_context(running_stack(folder))
        yield folder, servers.enter_context(gateways_and_baselines(stack))


def _print_of_clients(clients: int, rows: list[tuple[str, str, str]], rounds: int, seconds: int) -> None:
    print("| gateway | size | p99 ms | compared with | its | ratio |")
    print("| --- | --- | ---: | --- | ---: | ---: |")
    with _contenders() as (folder, running):
        for mode, size, baseline in rows:
            for name in (mode, baseline):
                rate(running[name], size, 1, folder)  # fills caches
            measured = [
                [p99(running[name], size, seconds, folder, clients) for name in (mode, baseline)] for _ in range(rounds)
            ]
            own, its = (statistics.median(column) for column in zip(*measured, strict=True))
            ratio = statistics.median(mine / other for mine, other in measured)
            print(f"| {mode} | {size} | {own:.2f} | {baseline} | {its:.2f} | {ratio:.2f} |")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default="", help="a part of a mode: stream or memory")
    parser.add_argument("--load", type=float, default=0.5, help="share of what the gateway serves at most")
    parser.add_argument("--clients", type=int, help="that send a request once they have an answer, at full load")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only in row[0]]
    if options.clients is not None:
        _print_of_clients(options.clients, rows, options.rounds, round(options.seconds))
        return
    print("| server | size | requests/s | p50 ms | p99 ms | p99.9 ms | p99 over the origin, ms |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with _contenders() as (folder, running):
        os.sched_setaffinity(0, {int(CLIENT_CORE)})
        for mode, size, baseline in rows:
            names = ("origin", baseline, mode)
            for name in names:
                rate(running[name], size, 1, folder)  # fills caches
            own = {name: options.load * rate(running[name], size, 3, folder) for name in (mode, baseline)}
            measured = [("origin", own[mode]), (baseline, own[mode]), (baseline, own[baseline]), (mode, own[mode])]
            rounds: list[list[list[float]]] = [[] for _ in measured]
            for number in range(options.rounds):
                print(f"{mode} {size}: round {number + 1} of {options.rounds}", file=sys.stderr)
                for (name, per_second), results in zip(measured, rounds, strict=True):
                    sample = latencies(running[name], size, per_second, options.seconds, seed=number)
                    results.append(percentiles(sample))
            for (name, per_second), results in zip(measured, rounds, strict=True):
                p50, p99, p999 = (statistics.median(column) for column in zip(*results, strict=True))
                over = statistics.median(mine[1] - its[1] for mine, its in zip(results, rounds[0], strict=True))
                print(f"| {name} | {size} | {per_second:,.0f} | {p50:.2f} | {p99:.2f} | {p999:.2f} | {over:.2f} |")


if __name__ == "__main__":
    main()
