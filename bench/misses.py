"""Images that are not cached yet: requests a second, p50 and p99, compared with those of cached images.

    python -m bench.misses [--rounds 3] [--seconds 3] [--burst 1000] [TREE ...]

Uses the Redis and PostgreSQL of the development stack, wrk with 32 connections, and a gateway that redirects, so that
COS is not measured. Each TREE is a checkout of this repository, this one by default: the gateways of several are
measured in turn, so that before and after are compared in one run. The gateway has one core, wrk the other one.
"""

import argparse
import asyncio
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.databases import BUCKET, Sections, running_databases, write_configuration
from bench.processes import CLIENT_CORE, SERVER_CORE, Contender, free_port, pinned
from bench.wrk import CONNECTIONS
from gateway_dev.database import ImageRow

_BATCH = 200
_WARM = 64
# Requests ids that no request named before, or a few in turn. Threads of wrk share no variables, so there is one.
_SCRIPT = """
local n, most, body = {first}, {most}, {batch} > 1
local headers = {{["Content-Type"] = "application/json"}}
request = function()
    if not body then
        n = n + 1
        return wrk.format("GET", string.format("{path}", {first} + (n - {first}) % most))
    end
    local ids = {{}}
    for i = 1, {batch} do
        n = n + 1
        ids[i] = string.format('"id-%d"', n)
    end
    return wrk.format("POST", "{path}", headers, '{{"image_ids": [' .. table.concat(ids, ",") .. "]}}")
end
done = function(summary, latency)
    local failed = summary.errors
    print(string.format("RESULT %d %d %d %d %d", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), failed.status + failed.connect + failed.read + failed.timeout))
end
"""


@dataclass(frozen=True)
class Row:
    """A kind of request: ``path`` takes the number of an id; ``batch`` ids a request; cold ids or warm ones."""

    name: str
    path: str
    is_cold: bool
    batch: int = 1


ROWS = (
    Row("cold /url", "/api/v1/images/id-%d/url", is_cold=True),
    Row("cold /i/", "/i/id-%d", is_cold=True),
    Row("cold batch of 200", "/api/v1/images/urls", is_cold=True, batch=_BATCH),
    Row("warm /url", "/api/v1/images/id-%d/url", is_cold=False),
    Row("warm /i/", "/i/id-%d", is_cold=False),
)
_REDIRECT = ROWS[-1]


@dataclass
class Measured:
    """Of each round: images a second, and a second of the gateway's processor; latencies in milliseconds.

    ``failures`` counts the requests of bursts that got another answer than a redirect.
    """

    rates: list[float] = field(default_factory=list)
    per_cpu: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    failures: int = 0


class Ids:
    """Numbers of rows in Postgres that no request has named."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.next = _WARM + 1

    def use(self, number: int) -> None:
        """Count so many as named; raises ``RuntimeError`` when there are not enough."""
        self.next += number
        if self.next > self._rows:
            raise RuntimeError("too few rows: --rows")


def load(server: Contender, row: Row, ids: Ids, seconds: int, folder: Path, measured: Measured) -> None:
    """Send requests, and add the measurements; raises ``RuntimeError`` if one fails."""
    script, used = folder / "misses.lua", server.cpu_seconds()
    first, most = (ids.next, 1 << 40) if row.is_cold else (0, _WARM)
    script.write_text(_SCRIPT.format(first=first, most=most, batch=row.batch, path=row.path))
    wrk = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script))
    command = ["taskset", "-c", CLIENT_CORE, *wrk]
    output = subprocess.run([*command, server.prefix], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    if found is None or int(found[5]):
        raise RuntimeError(f"{row.name}: {output}")
    requests, microseconds, p50, p99 = (int(found[group]) for group in range(1, 5))
    if row.is_cold:
        ids.use((requests + 2 * CONNECTIONS) * row.batch)
    measured.rates.append(requests * row.batch * 1e6 / microseconds)
    measured.per_cpu.append(requests * row.batch / (server.cpu_seconds() - used))
    measured.p50.append(p50 / 1000)
    measured.p99.append(p99 / 1000)


async def burst(server: Contender, ids: Ids, count: int, measured: Measured) -> None:
    """Request ``count`` cold ids at once, each on a separate connection that is already open."""
    address = urlsplit(server.prefix)
    opened = [await asyncio.open_connection(address.hostname, address.port) for _ in range(count)]
    first = ids.next
    ids.use(count)
    sent, used = time.perf_counter(), server.cpu_seconds()
    for number, (_, writer) in enumerate(opened):
        writer.write(f"GET /i/id-{first + number} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    async def answered(reader: asyncio.StreamReader) -> float:
        status = await reader.readline()
        measured.failures += b" 302 " not in status
        return (time.perf_counter() - sent) * 1000

    times = sorted(await asyncio.gather(*(answered(reader) for reader, _ in opened)))
    for _, writer in opened:
        writer.close()
    measured.rates.append(count * 1000 / times[-1])
    measured.per_cpu.append(count / (server.cpu_seconds() - used))
    measured.p50.append(times[count // 2])
    measured.p99.append(times[count * 99 // 100])


@contextmanager
def gateway(tree: Path, folder: Path, redis_url: str, dsn: str) -> Iterator[Contender]:
    """Run the gateway of a checkout."""
    port = free_port()
    settings: Sections = {
        "server": {"host": "127.0.0.1", "port": port, "max_streams": 5000},
        "admin": {"port": free_port()},
        "redis": {"url": redis_url, "timeout": 5},  # a busy machine is slow, and must not be measured without Redis
        "postgres": {"dsn": dsn},
        "cos": {"secret_id": "id", "secret_key": "key", "bucket": BUCKET},
        "url_cache": {"max_size": 1_000_000},
        "image_proxy": {"delivery": "redirect"},
        "logging": {"level": "warning"},
    }
    configuration = write_configuration(folder / f"{port}.yaml", settings)
    command = (sys.executable, "-m", "gateway", "serve", "--config", str(configuration))
    base = f"http://127.0.0.1:{port}"
    with pinned(SERVER_CORE, *command, ready=f"{base}/healthz", cwd=tree) as pid:
        yield Contender(base, pid)


def measure(trees: list[Path], options: argparse.Namespace, folder: Path) -> dict[tuple[str, Path], Measured]:
    """Measure every row with every gateway in turn."""
    measured: dict[tuple[str, Path], Measured] = {}
    with ExitStack() as stack:
        row_0 = ImageRow("id-0", None, "photos/0.jpg", content_type="image/jpeg", public=True)
        databases, ids = stack.enter_context(running_databases(folder, [row_0])), Ids(options.rows)
        databases.table.execute(
            "INSERT INTO images (id, cos_key, mime_type, is_public, storage_status) "
            "SELECT 'id-' || n, 'photos/' || n || '.jpg', 'image/jpeg', true, 'active' FROM generate_series(1, %s) n",
            options.rows,
        )
        databases.table.execute("ANALYZE images")
        redis_url, dsn = databases.redis.url.rpartition("/")[0], databases.postgres.dsn
        servers = {
            tree: stack.enter_context(gateway(tree, folder, f"{redis_url}/{number}", dsn))
            for number, tree in enumerate(trees)
        }
        for tree, server in servers.items():  # opens connections and fills caches
            for row in ROWS:
                load(server, row, ids, 1, folder, Measured())
            measured |= {(row.name, tree): Measured() for row in ROWS}
            measured[_burst_name(options), tree] = Measured()
        for round_number in range(options.rounds):
            print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
            for row in [row for row in ROWS if options.only in row.name or row is _REDIRECT]:
                for tree, server in servers.items():
                    load(server, row, ids, options.seconds, folder, measured[row.name, tree])
            for tree, server in servers.items() if options.only in _burst_name(options) else ():
                asyncio.run(burst(server, ids, options.burst, measured[_burst_name(options), tree]))
    return measured


def _burst_name(options: argparse.Namespace) -> str:
    return f"burst of {options.burst:,} cold /i/"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.misses")
    parser.add_argument("trees", nargs="*", type=Path, default=[Path.cwd()], metavar="TREE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a row's name")
    parser.add_argument("--burst", type=int, default=1000, help="cold ids requested at once")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows in Postgres; each is missed once")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, options.burst * 2 + 200), hard))
    with tempfile.TemporaryDirectory(prefix="image-gateway-bench-") as folder:
        trees = [tree.resolve() for tree in options.trees]
        Path(folder).chmod(0o755)
        measured = measure(trees, options, Path(folder))
    print("| requests | gateway | images/s | of a warm redirect | a processor-second | p50 ms | p99 ms | failures |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, tree), measurement in measured.items():
        if not measurement.rates:
            continue
        redirects = measured[_REDIRECT.name, tree].rates
        ratio = statistics.median(ours / theirs for ours, theirs in zip(measurement.rates, redirects, strict=True))
        print(
            f"| {name} | {tree.name} | {statistics.median(measurement.rates):,.0f} | {ratio:.2f} | "
            f"{statistics.median(measurement.per_cpu):,.0f} | "
            f"{statistics.median(measurement.p50):.1f} | {statistics.median(measurement.p99):.1f} | "
            f"{measurement.failures} |"
        )


if __name__ == "__main__":
    main()
