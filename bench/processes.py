"""Servers that are measured, each a process on one core."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SERVER_CORE, CLIENT_CORE = "0", "1"

# nginx's module njs, as Debian's packages install it. It needs the first one.
NJS = tuple(Path("/usr/lib/nginx/modules") / name for name in ("ngx_stream_module.so", "ngx_http_js_module.so"))

_NGINX = """
{modules}
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; server_tokens off;
    client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
    types {{ image/png png; }} default_type image/png;
    {http}
}}
"""


@dataclass(frozen=True)
class Contender:
    """A running server: prefix and suffix of its image addresses, its process, and what a request and its answer are.

    ``behind`` are the processes behind it that do a part of its work. ``suffixes``: those of single images, by number.
    With a ``body``, each request is a POST of it to
    the prefix, for so many ``images``. ``cache_status`` is a part of the last ``Cache-Status`` of a warm answer.
    ``per_cpu``: its rate is always one per second of processor time.
    """

    prefix: str
    pid: int
    suffix: str = ""
    suffixes: tuple[str, ...] = ()
    behind: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    images: int = 1
    status: int = 200
    cache_status: str = ""
    per_cpu: bool = False

    def cpu_seconds(self) -> float:
        """Return the processor time of the processes and their children in seconds, from proc(5)."""
        ticks = 0
        pids = {self.pid, *self.behind}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if pids & {int(stat.parent.name), int(fields[1])}:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def pinned(
    core: str, *command: str, ready: str, cwd: Path | None = None, pause: float = 0.05, log: int | None = None
) -> Iterator[int]:
    """Run ``command`` on one core for the duration; yield its process id once the address ``ready`` answers.

    Between two questions there are ``pause`` seconds. ``log`` is its standard error, None: that of this process.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(["taskset", "-c", core, *command], cwd=cwd, env=environment, stderr=log)
    try:
        _wait_for(ready, process, pause)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def log_reader() -> Iterator[int]:
    """Yield a pipe for the log of a gateway, which a process on the client's core reads. It prints all but ``info``."""
    ours, theirs = os.pipe()
    command = ("taskset", "-c", CLIENT_CORE, "grep", "--line-buffered", "--invert-match", '"level": "info"')
    process = subprocess.Popen(command, stdin=ours, stdout=sys.stderr)
    os.close(ours)
    try:
        yield theirs
    finally:
        os.close(theirs)
        process.wait()


def nginx(
    folder: Path, name: str, core: str, http: str, ready: str, modules: Sequence[Path] = ()
) -> contextlib.AbstractContextManager[int]:
    """Run an nginx with this ``http`` block, and with modules."""
    configuration = folder / f"{name}.conf"
    loaded = "".join(f"load_module {module};\n" for module in modules)
    configuration.write_text(_NGINX.format(modules=loaded, folder=folder, name=name, http=http))
    return pinned(core, nginx_binary(), "-e", "stderr", "-c", str(configuration), ready=ready)


def nginx_binary() -> str:
    """Return the path of the installed nginx."""
    return program("nginx") or "nginx"


def program(name: str) -> str | None:
    """Return the path of an installed program, and None if there is none."""
    return shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def _wait_for(url: str, process: subprocess.Popen[bytes], pause: float) -> None:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended at once")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - http on this machine
                return
        except OSError:
            time.sleep(pause)
    raise RuntimeError(f"{url} does not answer")
