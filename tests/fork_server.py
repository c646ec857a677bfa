"""``python -m tests.fork_server SOCKET``: forks a process for each command, with the gateway imported already.

To import the gateway takes a process many times longer than what most commands do then. Each connection to the socket
is one command: a line of JSON with ``arguments``, ``environment`` and ``cwd``. What comes back is the id of the process
in a line, its output, a zero byte and its exit code.
"""

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

import click

from gateway.cli import main

# What the commands import when they run.
_LATE = ("gateway.commands.serve_process", "gateway.presign.sdk_signature")


async def run_forked(address: str, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Have the server at ``address`` run a command; return its exit code and its output. A cancellation kills it."""
    reader, writer = await asyncio.open_unix_connection(address)
    try:
        command = {"arguments": arguments, "environment": dict(environment), "cwd": os.getcwd()}  # noqa: PTH109
        writer.write(json.dumps(command).encode() + b"\n")
        process = int(await reader.readline())
        try:
            output, _, code = (await reader.read()).rpartition(b"\0")
        except asyncio.CancelledError:
            os.kill(process, signal.SIGKILL)
            raise
    finally:
        writer.close()
    return int(code), output.decode()


def serve(listener: socket.socket) -> list[str]:
    """Fork for each connection. Return, in the process of a command, its arguments."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel shall not keep the exit codes of its children
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            command = json.loads(connection.makefile().readline())
            if (process := os.fork()) == 0:
                return _become(command, connection)
            _, status = os.waitpid(process, 0)
            connection.sendall(b"\0%d" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        connection.close()


def _become(command: dict[str, object], connection: socket.socket) -> list[str]:
    connection.sendall(b"%d\n" % os.getpid())
    os.dup2(connection.fileno(), 1)
    os.dup2(connection.fileno(), 2)
    connection.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)  # the old ones may seek, as in a file
    environment, arguments = command["environment"], command["arguments"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(str(command["cwd"]))
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
        sys.argv[1:] = serve(unix)
    main(prog_name="python -m gateway")
