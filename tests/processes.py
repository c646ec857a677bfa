"""The gateway in a separate process, as an operator runs it."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.fork_server import ForkedProcess, start_forked

START_TIMEOUT = 120.0
GATEWAY = (sys.executable, "-m", "gateway")
# The variable with the socket of a ``tests.fork_server`` for ``run_gateway``.
FORK_SERVER = "TESTS_FORK_SERVER"

# sd_listen_fds(3): the sockets begin at descriptor 3, and LISTEN_PID is the process that they are for.
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execve(sys.argv[2], sys.argv[2:], {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})
"""


@dataclass
class GatewayProcess:
    """A running ``python -m gateway``: the URLs of its ports and the lines of its output."""

    process: asyncio.subprocess.Process | ForkedProcess
    public: str = ""
    admin: str = ""
    lines: list[str] = field(default_factory=list)

    def terminate(self) -> None:
        """Send SIGTERM, as an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)

    async def line_with(self, text: str, *, seconds: float = START_TIMEOUT) -> str:
        """Wait for the first line of output that contains ``text``; return it stripped."""
        async with asyncio.timeout(seconds):
            while not (found := [line for line in self.lines if text in line]):
                await asyncio.sleep(0.01)
        return found[0].strip()

    def output(self) -> asyncio.ReadTransport:
        """Return the reader of the output; ``pause_reading`` makes it sleep."""
        if isinstance(self.process, ForkedProcess):
            return self.process.output
        transport: asyncio.ReadTransport = self.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        return transport

    async def exit_code(self) -> int:
        """Wait until the process ends; return its exit code."""
        async with asyncio.timeout(START_TIMEOUT):
            return await self.process.wait()


@asynccontextmanager
async def gateway_process(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: Sequence[str] = GATEWAY,
    listener: socket.socket | None = None,
    pipe_size: int | None = None,
) -> AsyncIterator[GatewayProcess]:
    """Start ``program`` with JSON logs and wait until it listens; kill it at the end if it still runs.

    ``listener`` is handed over as systemd does it, and replaces the public port. ``pipe_size``: bytes of output that
    wait for this process; None for the system's default.
    """
    if listener is not None:
        program = (sys.executable, "-c", AS_SYSTEMD, str(listener.fileno()), *program)
    variables = {**os.environ, "GATEWAY_LOGGING__FORMAT": "json", **(environment or {})}
    process = await _start(program, arguments, variables, cwd, () if listener is None else (listener.fileno(),))
    running = GatewayProcess(process)
    if pipe_size is not None:
        fcntl.fcntl(running.output().get_extra_info("pipe"), fcntl.F_SETPIPE_SZ, pipe_size)
    reader: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while not running.public:
                line = await _next_line(running)
                if "listening: " in line:
                    words = dict(word.split("=", 1) for word in json.loads(line)["event"].split()[1:])
                    running.public, running.admin = words["public"], words["admin"]
        reader = asyncio.create_task(_collect_lines(running), name="gateway-output")
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reader is not None:
            await reader
        _close(process)


async def run_program(*command: str, keep: int | None = None) -> str:
    """Run a program until it ends; return its output. It inherits the descriptor ``keep``."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=() if keep is None else (keep,),
    )
    async with asyncio.timeout(START_TIMEOUT):
        output, _ = await process.communicate()
    return output.decode().strip()


async def run_gateway(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = GATEWAY,
) -> tuple[int, str]:
    """Run ``program`` until it ends; return its exit code and its output."""
    process = await _start(program, arguments, {**os.environ, "COLUMNS": "200", **(environment or {})})
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT):
            output = await process.stdout.read()
            return await process.wait(), output.decode()
    finally:
        if process.returncode is None:
            process.kill()  # a process that serves instead of refusing would keep its ports
            await process.wait()
        _close(process)


async def _start(
    program: Sequence[str],
    arguments: Sequence[str],
    variables: dict[str, str],
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process | ForkedProcess:
    """Start a program, by the fork server if ``forked_commands`` asks for it and Python has no options of its own."""
    server = variables.pop(FORK_SERVER, None)
    own = {name for name in variables if name.startswith("PYTHON") and variables[name] != os.environ.get(name)}
    if server is not None and program == GATEWAY and not own:
        return await start_forked(server, arguments, variables, None if cwd is None else str(cwd))
    return await asyncio.create_subprocess_exec(
        *program,
        *arguments,
        env=variables,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
        pass_fds=pass_fds,
        # The tests may run under nohup, whose children ignore SIGHUP.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def _close(process: asyncio.subprocess.Process | ForkedProcess) -> None:
    """Close the pipe of its output, which processes of its own may hold open."""
    if isinstance(process, ForkedProcess):
        process.output.close()
    else:
        process._transport.close()  # type: ignore[attr-defined]


async def ready(base: str) -> dict[str, Any]:
    """Return the body of ``/readyz`` at the address ``base``."""
    async with aiohttp.ClientSession() as session, session.get(base + "/readyz") as answer:
        body: dict[str, Any] = await answer.json()
        return body


async def _next_line(running: GatewayProcess) -> str:
    assert running.process.stdout is not None
    line = (await running.process.stdout.readline()).decode()
    assert line, "the gateway ended before it listened:\n" + "".join(running.lines)
    running.lines.append(line)
    return line


async def _collect_lines(running: GatewayProcess) -> None:
    assert running.process.stdout is not None
    async for line in running.process.stdout:
        running.lines.append(line.decode())
