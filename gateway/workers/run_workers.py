"""The parent of N workers on one port: what ``serve --workers N`` runs. It opens neither Redis nor Postgres nor COS."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from aiohttp import web

from gateway.concurrency.background import background, first_of
from gateway.net.ip_address import is_loopback
from gateway.net.port import cannot_listen
from gateway.process.systemd import ServiceManager
from gateway.server.connection import ADMIN_KEEPALIVE, Endpoint, Site
from gateway.server.file_limit import ADMIN_CONNECTIONS
from gateway.settings import AdminSettings, ServerSettings
from gateway.workers.admin import Admin
from gateway.workers.public_port import PublicPort
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Accepted, Worker
from gateway.workers.worker_calls import worker_calls
from gateway.workers.worker_channel import RELOAD, ROLL
from gateway.workers.worker_command import kept, resolved

logger = logging.getLogger(__name__)

_SILENCE: Final = 20.0  # seconds without a sign of life, if systemd says nothing else
_LEAST_SILENCE: Final = 3.0
_STALL: Final = 30.0  # seconds without progress of a client of the admin port, as `image_proxy.timeout` by default


@dataclass(frozen=True, slots=True)
class Signals:
    """``stop`` starts the drain of all workers, ``force_stop`` ends it. ``reload`` and ``roll`` take them in turn."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    force_stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    roll: asyncio.Event = field(default_factory=asyncio.Event)

    def obey(self, order: str) -> None:
        """Do what a signal says that a worker got in place of the parent."""
        wanted = {RELOAD: self.reload, ROLL: self.roll}.get(order)
        if wanted is not None:
            wanted.set()


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How workers are started.

    program: the command by which the parent was started. Its path may contain a symbolic link.
    arguments: the arguments of a worker, without the argument that marks the process as a worker.
    settings: the settings that the parent has read, as text.
    """

    program: Sequence[str]
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    settings: str = field(repr=False)

    async def start(self, number: int, accepted: Accepted | None, public: Sequence[socket.socket]) -> Worker:
        """Start a worker of the program in ``accepted``, or of what the link leads to now if that is None or gone."""
        program: Sequence[str] = resolved(self.program)
        if accepted is None:
            logger.info("replacing workers by those of a program: program=%s", program[0])
        else:
            program = kept(accepted.program, self.program)
            accepted = replace(accepted, program=program)
        return await Worker.start(number, program, self.arguments, self.environment, public, accepted)


async def run_workers(
    count: int,
    command: WorkerCommand,
    server: ServerSettings,
    admin: AdminSettings,
    signals: Signals,
    manager: ServiceManager,
    *,
    inherited: Sequence[socket.socket] = (),
    dropped_lines: Callable[[], int],
) -> None:
    """Run ``count`` workers until the signal to stop, then drain them.

    ``inherited`` are sockets of systemd for the public port. ``dropped_lines`` counts lost lines of the parent's log.
    Raises ``WorkerFailed`` if a worker cannot start for the first time, and ``CannotListen`` if a port is not
    available.
    """
    async with AsyncExitStack() as stack:
        port = await PublicPort.bind(server.host, server.port, inherited)
        stack.callback(port.close)

        async def start(number: int, accepted: Accepted | None) -> Worker:
            with port.for_a_worker() as public:
                worker = await command.start(number, accepted, public)
            worker.passes_on = signals.obey
            return worker

        async def before_end(worker: Worker) -> None:
            await front.remember(worker)

        supervisor = Supervisor(
            count,
            start,
            Accepted(resolved(command.program), command.settings),
            silence=max(_LEAST_SILENCE, manager.watchdog or _SILENCE),
            grace=server.shutdown_grace,
            before_end=before_end,
        )
        front = Admin(supervisor, await stack.enter_async_context(worker_calls()), dropped_lines)
        stack.push_async_callback(front.close)
        admin_url = await stack.enter_async_context(admin_port(front, admin))
        starting = asyncio.create_task(stack.enter_async_context(supervisor.running()), name="start-workers")
        if not await _has_started(starting, supervisor, signals):
            return
        await stack.enter_async_context(background("history", front.record_history()))
        await stack.enter_async_context(background("watchdog", manager.show_life(supervisor.shows_life)))
        logger.info("listening: public=%s admin=%s workers=%s", port.url(server.host), admin_url, count)
        manager.ready()
        async with background("orders", _obey(supervisor, signals, manager)):
            await signals.stop.wait()
        manager.stopping()
        logger.info("draining %s workers", count)
        await supervisor.drain(signals.force_stop)


async def _has_started(starting: "asyncio.Task[None]", supervisor: Supervisor, signals: Signals) -> bool:
    """Wait until the start is over, and return True. If the signal to stop comes before, drain and return False.

    Raises the errors of the start.
    """
    stopping = asyncio.create_task(signals.stop.wait(), name="stop")
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not signals.stop.is_set():
            await starting
            return True
        await supervisor.drain(signals.force_stop)  # a worker that was ready may be serving
        return False
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.wait({starting, stopping})


async def _obey(supervisor: Supervisor, signals: Signals, manager: ServiceManager) -> None:
    """Reload or roll, never both at once, and once for all signals that came since the last time began."""
    while True:
        await first_of(signals.reload, signals.roll)
        if signals.reload.is_set():
            signals.reload.clear()
            manager.reloading()
            await supervisor.reload()
            manager.ready()
        if signals.roll.is_set():
            signals.roll.clear()
            await supervisor.roll()


@asynccontextmanager
async def admin_port(front: Admin, admin: AdminSettings) -> AsyncIterator[str]:
    """Serve ``front`` on the admin port within the block. Yield its URL. Raises ``CannotListen``."""
    if admin.token is None and not is_loopback(admin.host):
        logger.warning("the admin port is reachable from outside and admin.token is not set: admin.host=%s", admin.host)
    runner = web.AppRunner(front.app(admin.names), shutdown_timeout=1.0)
    await runner.setup()
    try:
        endpoint = Endpoint(admin.host, admin.port, ADMIN_KEEPALIVE, ADMIN_CONNECTIONS, "admin", closes_idle=True)
        site = Site(runner, endpoint, _STALL, front.ports, front.changes.at_once)
        with cannot_listen("admin", admin.host, admin.port):
            await site.start()
        yield site.url
    finally:
        await runner.cleanup()
