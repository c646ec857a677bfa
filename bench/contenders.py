"""Servers to compare: each runs on the first core, in front of one origin on the second."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.dev.database import ImageRow, ImagesTable
from gateway.dev.postgres_server import PostgresServer
from gateway.dev.redis_server import RedisServer

SERVER_CORE, CLIENT_CORE = "0", "1"
BUCKET = "bench-1250000000"
SIZES = {"4k": 4_096, "100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
COUNTS = {
    "4k": 64,
    "100k": 64,
    "1m": 64,
    "10m": 40,
}  # more than the connections of wrk, so that no two request the same image at once

_NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; server_tokens off;
    client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
    types {{ image/png png; }} default_type image/png;
    {http}
}}
"""


@dataclass(frozen=True)
class Contender:
    """A running server: prefix and suffix of its image addresses, and its process."""

    prefix: str
    pid: int
    suffix: str = ""

    def cpu_seconds(self) -> float:
        """Return the processor time of the process and its children in seconds, from proc(5)."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if self.pid in (int(stat.parent.name), int(fields[1])):
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port on which nothing listened at the time of the call."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_images(folder: Path) -> list[str]:
    """Create files of every size; return their names."""
    folder.mkdir()
    names = []
    for size, length in SIZES.items():
        for number in range(COUNTS[size]):
            name = f"{size}-{number}"
            (folder / name).write_bytes(os.urandom(1024) * (length // 1024) + bytes(length % 1024))
            names.append(name)
    return names


@contextlib.contextmanager
def pinned(core: str, *command: str, ready: str, cwd: Path | None = None) -> Iterator[int]:
    """Run ``command`` on one core for the duration; yield its process id once the address ``ready`` answers."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(["taskset", "-c", core, *command], cwd=cwd, env=environment)
    try:
        _wait_for(ready, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def nginx(folder: Path, name: str, core: str, http: str, ready: str) -> contextlib.AbstractContextManager[int]:
    """Run an nginx with this ``http`` block."""
    configuration = folder / f"{name}.conf"
    configuration.write_text(_NGINX.format(folder=folder, name=name, http=http))
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") or "nginx"
    return pinned(core, binary, "-e", "stderr", "-c", str(configuration), ready=ready)


@contextlib.contextmanager
def contenders(folder: Path) -> Iterator[dict[str, Contender]]:
    """Run all servers; yield them by name."""
    names = make_images(folder / "images")
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        origin, proxy, bare = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        files = f"listen {origin[7:]}; root {folder}/images;"
        origin_pid = stack.enter_context(
            nginx(folder, "origin", CLIENT_CORE, f"server {{ {files} }}", f"{origin}/4k-0")
        )
        proxying = (
            f"upstream o {{ server {origin[7:]}; keepalive 64; }} server {{ listen {proxy[7:]}; location / {{ "
            'proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; '
            "proxy_max_temp_file_size 0; } }"
        )
        nginx_pid = stack.enter_context(nginx(folder, "proxy", SERVER_CORE, proxying, f"{proxy}/4k-0"))
        arguments = (bare.rpartition(":")[2], origin, str(folder / "images"))
        bare_pid = stack.enter_context(
            pinned(SERVER_CORE, sys.executable, "-m", "bench.bare", *arguments, ready=f"{bare}/memory/4k-0")
        )
        redis = stack.enter_context(RedisServer(folder / "redis", ephemeral=True))
        postgres = stack.enter_context(PostgresServer(folder / "postgres", ephemeral=True))
        table = ImagesTable(postgres.dsn)
        table.create()
        table.put([ImageRow(name, None, name, content_type="image/png", public=True) for name in names])
        running = {
            "origin": Contender(f"{origin}/", origin_pid),
            "nginx": Contender(f"{proxy}/", nginx_pid),
            "bare relay": Contender(f"{bare}/relay/", bare_pid),
            "bare bytes": Contender(f"{bare}/memory/", bare_pid),
            "bare 302": Contender(f"{bare}/redirect/", bare_pid),
        }
        for name, image_proxy in {
            "stream": {"memory_cache": {"max_bytes": 0}},
            "memory": {"memory_cache": {"ttl": 600}},
            "redirect": {"delivery": "redirect"},
        }.items():
            public = free_port()
            settings = {
                "server": {"host": "127.0.0.1", "port": public},
                "admin": {"port": free_port()},
                "redis": {"url": redis.url},
                "postgres": {"dsn": postgres.dsn},
                "cos": {
                    "secret_id": "id",
                    "secret_key": "key",
                    "bucket": BUCKET,
                    "scheme": "http",
                    "domain": origin[7:],
                },
                "image_proxy": image_proxy,
                "image_styles": {"card": {}},
                "logging": {"level": "warning"},
            }
            configuration = folder / f"{name}.yaml"
            configuration.write_text(json.dumps(settings))  # JSON is also YAML
            command = (sys.executable, "-m", "gateway", "serve", "--config", str(configuration))
            pid = stack.enter_context(pinned(SERVER_CORE, *command, ready=f"http://127.0.0.1:{public}/healthz"))
            running[name] = Contender(f"http://127.0.0.1:{public}/i/", pid)
            if name == "memory":  # the origin ignores the rule: a variant is as large as its original
                running["variant"] = Contender(running[name].prefix, pid, "?style=card&w=640&format=webp")
        yield running


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended at once")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - http on this machine
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")
