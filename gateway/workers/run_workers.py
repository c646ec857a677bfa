"""The process that ``serve --workers N`` runs, with N workers on one port. It opens neither Redis, Postgres nor COS."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Final, Self

from aiohttp import web

from gateway.concurrency.background import background, first_of
from gateway.net.port import cannot_listen, url_of
from gateway.process.signals import Signals
from gateway.process.systemd import ServiceManager, inherited_listeners
from gateway.server.acceptor import ADMIN_KEEPALIVE, Endpoint, Site
from gateway.server.file_limit import ADMIN_CONNECTIONS
from gateway.server.host_guard import warn_if_open
from gateway.settings import AdminSettings, ServerSettings
from gateway.workers.admin import Admin
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Accepted, Worker, WorkerCommand
from gateway.workers.worker_calls import worker_calls
from gateway.workers.worker_channel import RELOAD, ROLL

logger = logging.getLogger(__name__)

_SILENCE: Final = 20.0  # seconds without a sign of life, if systemd says nothing else
_LEAST_SILENCE: Final = 3.0
_STALL: Final = 30.0  # seconds without progress of a client of the admin port, as `image_proxy.timeout` by default


async def run_workers(
    count: int, command: WorkerCommand, server: ServerSettings, admin: AdminSettings, signals: Signals
) -> None:
    """Run ``count`` workers until the signal to stop, then drain them.

    Raises ``WorkerFailed`` if a worker cannot start for the first time, ``CannotListen`` if a port is not available,
    and ``UnusableSocket`` for a socket of systemd.
    """
    manager = ServiceManager.from_environment()
    async with AsyncExitStack() as stack:
        port = await PublicPort.bind(server.host, server.port, inherited_listeners())
        stack.callback(port.close)

        async def start(number: int, accepted: Accepted | None) -> Worker:
            with port.for_a_worker() as public:
                worker = await command.start(number, accepted, public)
            worker.passes_on = {RELOAD: signals.reload, ROLL: signals.roll}
            return worker

        silence = max(_LEAST_SILENCE, manager.watchdog or _SILENCE)
        supervisor = Supervisor(count, start, command.first(), silence=silence, grace=server.shutdown_grace)
        front = Admin(supervisor, await stack.enter_async_context(worker_calls()))
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
    """Wait for the start, and return True, or drain and return False if the signal to stop comes before its end."""
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
    warn_if_open(admin)
    runner = web.AppRunner(front.app(admin.names), shutdown_timeout=1.0)
    await runner.setup()
    try:
        port = Endpoint(admin.host, admin.port, ADMIN_KEEPALIVE, ADMIN_CONNECTIONS, "admin", "admin", closes_idle=True)
        site = Site(runner, port, _STALL, front.ports)
        await site.start()
        yield site.name
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class PublicPort:
    """Keeps the public port for the supervisor while workers come and go: by sockets of systemd, or of its own.

    Own sockets are bound to the same port with SO_REUSEPORT (socket(7)) and do not listen: a worker has a socket of its
    own, and listens when it is ready. The kernel gives connections only to listening sockets, so a worker that starts
    or has ended gets none. With ``inherited`` every worker accepts on the same sockets, which stay open when all have
    ended.
    """

    holders: Sequence[socket.socket]
    is_inherited: bool

    @classmethod
    async def bind(cls, host: str, port: int, inherited: Sequence[socket.socket] = ()) -> Self:
        """Return the port of the ``inherited`` sockets, or ``host`` and ``port``. Raises ``CannotListen``."""
        if inherited:
            return cls(inherited, is_inherited=True)
        with cannot_listen("server", host, port):
            # As for a single process: a name may have several addresses. It binds, and never listens.
            server = await asyncio.get_running_loop().create_server(
                asyncio.Protocol, host, port, reuse_port=True, start_serving=False
            )
        with closing(server):
            return cls([bound.dup() for bound in server.sockets], is_inherited=False)

    def url(self, host: str) -> str:
        """Return the URL of the port. With port 0, the system has chosen the port."""
        address, port = self.holders[0].getsockname()[:2]
        return url_of(address if self.is_inherited else host, port)

    @contextmanager
    def for_a_worker(self) -> Iterator[list[socket.socket]]:
        """Yield the sockets for a worker, which must inherit them within the block."""
        if self.is_inherited:
            yield list(self.holders)
            return
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket(holder.family, holder.type)) for holder in self.holders]
            for bound, holder in zip(sockets, self.holders, strict=True):
                _bind_as(holder, bound)
            yield sockets

    def close(self) -> None:
        for holder in self.holders:
            holder.close()


def _bind_as(holder: socket.socket, bound: socket.socket) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if holder.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind(holder.getsockname())
