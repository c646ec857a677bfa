"""Gateways with workers: real processes."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import psutil
import pytest
import yaml

from gateway.workers.admin import Admin
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Accepted, Worker, WorkerCommand
from gateway.workers.worker_calls import worker_calls
from tests.conftest import ADMIN_TOKEN
from tests.processes import GatewayProcess, gateway_process

RawSettings = dict[str, dict[str, Any]]
STARTED = 90.0  # seconds within which processes start or end, on a machine that may be busy
# Nothing is late on a busy machine: neither COS, which this process emulates beside its clients, nor a drain. And a
# transfer that hangs is not repeated before the test has ended.
PATIENT: RawSettings = {"image_proxy": {"timeout": 3600}, "server": {"shutdown_grace": 3600}}
AS_ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


# A process that speaks as a worker does. It says that it is ready, and answers the first requests to its admin port
# with the texts of its first argument, a JSON array; then it accepts and is silent. The second argument is "hangs" for
# a process that sends no signs of life, "slow" for a process whose answers take longer than a second, and "drips" for a
# process whose later answers come byte by byte. At the order to reload it says that its list of changes is another,
# and that it is ready; "stuck" ends then, as a process does whose event loop is stuck.
FAKE_WORKER = """
import json, os, socket, sys, threading, time
channel = socket.socket(fileno=int(sys.argv[-1]))
admin = socket.socket(fileno=json.loads(channel.recv(1 << 20).partition(b"\\n")[0])["admin"])
admin.listen()
def answer():
    kept = []
    for text in json.loads(sys.argv[1]):
        connection, _ = admin.accept()
        connection.recv(65536)
        time.sleep(1.2 if sys.argv[2] == "slow" else 0)
        head = "HTTP/1.0 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n"
        connection.sendall((head % len(text) + text).encode())
        connection.close()
    while True:
        kept.append(admin.accept())
        for letter in b"HTTP/1.0 200 OK\\r\\nX-Long: " + bytes(9999) if sys.argv[2] == "drips" else b"":
            kept[-1][0].sendall(bytes([letter or 97]))
            time.sleep(0.1)
def show_life():
    while sys.argv[2] != "hangs":
        channel.send(b"WATCHDOG=1\\n")
        time.sleep(0.2)
threading.Thread(target=answer, daemon=True).start()
channel.send(b"HEARD=1\\nREADY=1\\n")
threading.Thread(target=show_life, daemon=True).start()
while order := channel.recv(4096):
    if b"reload" in order:
        sys.argv[2] == "stuck" and os._exit(70)
        channel.send(b"HEARD=1\\nREADY=1\\n")
"""


@asynccontextmanager
async def fake_workers(
    *answers: Sequence[str], life: str = "alive", hurry: float = 3600
) -> AsyncIterator[tuple[Supervisor, Admin]]:
    """A supervisor of a fake worker for each of ``answers``, and the admin port of the parent."""

    async def start(number: int, accepted: Accepted | None) -> Worker:
        arguments = ["-IS", "-c", FAKE_WORKER, json.dumps(answers[number - 1]), life]
        return await WorkerCommand([sys.executable], arguments, os.environ, "").start(number, accepted, [])

    first = Accepted([sys.executable], None)
    supervisor = Supervisor(len(answers), start, first, silence=3600, grace=0)
    async with AsyncExitStack() as stack:
        if answers:
            await stack.enter_async_context(supervisor.running())
        yield supervisor, Admin(supervisor, await stack.enter_async_context(worker_calls()), hurry=hurry)


class StartWorkers(Protocol):
    """Starts ``serve --workers count`` with settings changed as ``changes`` say, and options of ``gateway_process``."""

    def __call__(
        self, count: int, *, options: dict[str, Any] | None = None, **changes: dict[str, Any]
    ) -> Awaitable[GatewayProcess]:
        """Return it when all are ready."""
        ...


@pytest.fixture(autouse=True)
def parents_are_forked(forked_commands: None) -> None:
    """No parent imports the gateway anew; its workers do."""


@pytest.fixture
def config(raw_settings: RawSettings, tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a configuration with changed sections."""

    def write(**changes: dict[str, Any]) -> Path:
        sections = [raw_settings, PATIENT, changes]
        names = {name for section in sections for name in section}
        path = tmp_path / "gateway.yaml"
        path.write_text(
            yaml.safe_dump(
                {name: {k: v for section in sections for k, v in section.get(name, {}).items()} for name in names}
            )
        )
        return path

    return write


@pytest.fixture
async def start_workers(config: Callable[..., Path]) -> AsyncIterator[StartWorkers]:
    """Function that starts a gateway with workers; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start(
            count: int, *, options: dict[str, Any] | None = None, **changes: dict[str, Any]
        ) -> GatewayProcess:
            arguments = ("serve", "--workers", str(count), "--config", str(config(**changes)))
            return await stack.enter_async_context(gateway_process(*arguments, **(options or {})))

        yield start


def workers_of(parent: GatewayProcess) -> list[int]:
    """Return the process ids of the workers that run and have been ready, the oldest first.

    They are read from the log: a look at all processes of the machine, again and again, would slow down their start.
    """
    events = [json.loads(line)["event"] for line in parent.lines if "worker is ready: " in line]
    return [pid for event in events if is_running(pid := int(event.rpartition("pid=")[2]))]


def is_running(pid: int) -> bool:
    """Whether the process has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ports_of(pid: int) -> set[int]:
    """Return the ports on which a process listens."""
    found = psutil.Process(pid).net_connections("tcp")
    return {connection.laddr[1] for connection in found if connection.status == psutil.CONN_LISTEN}


def kill(pid: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a worker itself."""
    os.kill(pid, signum)


async def roll(running: GatewayProcess) -> None:
    """Replace all workers, and wait until that is done."""
    running.process.send_signal(signal.SIGUSR2)
    await running.line_with("all workers are replaced", seconds=2 * STARTED)


async def get_json(url: str) -> dict[str, Any]:
    """Return the JSON body of an answer, whatever its status."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        body: dict[str, Any] = await answer.json()
        return body


async def get_text(url: str) -> str:
    """Return the text of an answer."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()
