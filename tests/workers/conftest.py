"""Gateways with workers: real processes."""

import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import psutil
import pytest
import yaml

from tests.conftest import ADMIN_TOKEN
from tests.processes import GatewayProcess, gateway_process

RawSettings = dict[str, dict[str, Any]]
STARTED = 90.0  # seconds within which processes start or end, on a machine that may be busy
# Nothing is late on a busy machine: neither COS, which this process emulates beside its clients, nor a drain. And a
# transfer that hangs is not repeated before the test has ended.
PATIENT: RawSettings = {"image_proxy": {"timeout": 3600}, "server": {"shutdown_grace": 3600}}
AS_ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


class StartWorkers(Protocol):
    """Starts ``serve --workers count`` with settings changed as ``changes`` say, and options of ``gateway_process``."""

    def __call__(
        self, count: int, *, options: dict[str, Any] | None = None, **changes: dict[str, Any]
    ) -> Awaitable[GatewayProcess]:
        """Return it when all are ready."""
        ...


@pytest.fixture
def config(raw_settings: RawSettings, tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a configuration with changed sections."""

    def write(**changes: dict[str, Any]) -> Path:
        sections = [raw_settings, PATIENT, changes]
        names = {name for one in sections for name in one}
        path = tmp_path / "gateway.yaml"
        path.write_text(
            yaml.safe_dump({name: {k: v for one in sections for k, v in one.get(name, {}).items()} for name in names})
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
