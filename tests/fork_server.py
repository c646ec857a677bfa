"""``python -m tests.fork_server SOCKET``: forks a process for each command, with the gateway imported already.

To import the gateway takes a process many times longer than what most commands do then. Each connection to the socket
is one command: a line of JSON with ``arguments``, ``environment``, ``cwd`` and ``files`` (the limits of open files),
and the descriptor for its output. What comes back is the id of the process in a line, and its exit code at its end.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click

import gateway.__main__
from gateway.cli import main

# What the commands import when they run.
_LATE = ("gateway.commands.serve_process", "qcloud_cos")
_MOST_OF_A_LINE: Final = 1 << 20  # bytes


@dataclass
class ForkedProcess:
    """A process that the server has forked, with what tests use of ``asyncio.subprocess.Process``.

    ``output`` reads ``stdout``, which is standard output and standard error.
    """

    pid: int
    stdout: asyncio.StreamReader
    output: asyncio.ReadTransport
    _exit: asyncio.Task[bytes]

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the number of the signal; None while the process runs."""
        return int(self._exit.result()) if self._exit.done() else None

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # its end has not been read yet
                os.kill(self.pid, signum)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the end of the process; return its exit code."""
        return int(await asyncio.shield(self._exit))


async def start_forked(
    address: str, arguments: Sequence[str], environment: Mapping[str, str], cwd: str | None = None
) -> ForkedProcess:
    """Have the server at ``address`` start a command in the folder ``cwd``, by default the one of this process."""
    loop = asyncio.get_running_loop()
    command = {
        "arguments": arguments,
        "environment": dict(environment),
        "cwd": cwd or os.getcwd(),  # noqa: PTH109
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    }
    read_end, write_end = os.pipe()
    stdout = asyncio.StreamReader(limit=_MOST_OF_A_LINE)
    output, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(read_end, "rb", buffering=0)
    )
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [json.dumps(command).encode() + b"\n"], [write_end])
    os.close(write_end)
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    pid = int(await reader.readline())

    async def exit_code() -> bytes:
        try:
            return await reader.read()
        finally:
            writer.close()

    return ForkedProcess(pid, stdout, output, asyncio.create_task(exit_code(), name=f"end-of-{pid}"))


def serve(listener: socket.socket) -> list[str]:
    """Fork for each connection. Return, in the process of a command, its arguments."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel shall not keep the exit codes of its children
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            line, (output, *_), _, _ = socket.recv_fds(connection, _MOST_OF_A_LINE, 1)
            while not line.endswith(b"\n"):
                line += connection.recv(_MOST_OF_A_LINE)
            if (process := os.fork()) == 0:
                return _become(json.loads(line), connection, output)
            os.close(output)
            _, status = os.waitpid(process, 0)
            connection.sendall(b"%d" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        connection.close()


def _become(command: dict[str, object], connection: socket.socket, output: int) -> list[str]:
    connection.sendall(b"%d\n" % os.getpid())
    connection.close()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)  # the old ones may seek, as in a file
    environment, arguments, files = command["environment"], command["arguments"], command["files"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    assert isinstance(files, list)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(str(command["cwd"]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[0], files[1]))
    return arguments


if __name__ == "__main__":
    for module in _LATE:
        importlib.import_module(module)
    for name in main.list_commands(click.Context(main)):
        main.get_command(click.Context(main), name)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"{sys.argv[1]}.new")
        unix.listen()
        os.rename(f"{sys.argv[1]}.new", sys.argv[1])  # noqa: PTH104
        gc.freeze()
        sys.argv = [str(gateway.__main__.__file__), *serve(unix)]
    main(prog_name="python -m gateway")
