"""What a worker got from its supervisor: its sockets, and the channel for orders and states.

The channel is a socket pair. The supervisor writes a line of JSON (``Assignment``), then an order on each line. The
worker writes states as in sd_notify(3), and more of them. When the channel closes, the supervisor has ended.

Every user of this machine reaches the admin port of a worker. So a request to it must have the supervisor's secret.
"""

import asyncio
import hmac
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Final, Literal, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.concurrency.background import background
from gateway.delivery.request_context import PEER
from gateway.errors import Forbidden
from gateway.process.signals import Signals
from gateway.process.systemd import ServiceManager

logger = logging.getLogger(__name__)

STOP: Final = "stop"  # drain and end
FORCE: Final = "force"  # end the drain at once
RELOAD: Final = "reload"  # reload the configuration
ROLL: Final = "roll"  # replace workers; only a worker passes it on
ASKED: Final = "asked"  # the nginx of this name has asked for changes; its question went to one worker
GRACE: Final = b"GRACE"  # the seconds that the drain may take, which a reload may have changed
WORKER_VERSION: Final = b"VERSION"
SETTINGS: Final = b"SETTINGS"  # those that the worker uses, for the worker that replaces it if it dies
HEARD: Final = b"HEARD"  # the list of changes is another
SIGNAL: Final = b"SIGNAL"  # the worker got a signal that is for the supervisor
# Headers of requests to the admin port: the secret of the supervisor, and the address of its client.
FROM_SUPERVISOR: Final = "X-From-Parent"
SUPERVISOR_PEER: Final = "X-Parent-Peer"
SIGN_TIMEOUT: Final = 2.0  # seconds; a sign of life comes twice in it
LONGEST_LINE: Final = 16 * 1024 * 1024  # bytes; the settings of a large configuration
_FIRST_LINE_TIMEOUT: Final = 30.0  # seconds
_MOST_UNSENT: Final = LONGEST_LINE  # bytes that wait for a supervisor: states follow settings that it still reads
_PIECE: Final = 64 * 1024
_PEEK: Final = socket.MSG_PEEK


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker gets from its supervisor at its start: its number, descriptors, and the secret of its admin port.

    ``settings`` is the text of the settings, None: the worker reads the configuration itself. ``ended`` is why the
    worker that it replaces has ended. ``tells_who_asks``: whether the supervisor sends ``ASKED``. That of an earlier
    release, whose workers may be of this one, does not.
    """

    number: int
    public: Sequence[int]
    admin: int
    secret: str = field(repr=False)
    settings: str | None = field(default=None, repr=False)
    ended: str | None = None
    tells_who_asks: bool = False

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Return the assignment in a line of a supervisor, which may be of a later version. Raises ``ValueError``."""
        values = json.loads(line)
        return cls(**{known.name: values[known.name] for known in fields(cls) if known.name in values})


class NoSupervisor(OSError):
    """The descriptor is not a channel to a supervisor: only ``serve --workers`` starts workers."""


class WorkerChannel:
    """A worker's sockets, and its end of the ``channel`` to its supervisor."""

    def __init__(self, channel: socket.socket, assignment: Assignment) -> None:
        self.assignment = assignment
        self.public = [_taken(descriptor) for descriptor in assignment.public]
        self.admin = [_taken(assignment.admin)]
        channel.setblocking(False)
        self._channel = channel
        self._writer: asyncio.StreamWriter | None = None
        self._has_sent_heard = False
        self.on_asked: Callable[[str], None] = lambda _: None  # called with the name of an nginx that asks for changes

    @classmethod
    def take(cls, descriptor: int) -> Self:
        """Return the channel of ``descriptor``. Raises ``NoSupervisor``."""
        try:
            channel = _taken(descriptor)
            channel.settimeout(_FIRST_LINE_TIMEOUT)
            line = b""
            # The line alone: what follows are orders, which ``obeying`` reads.
            while not line.endswith(b"\n") and len(line) < LONGEST_LINE and (seen := channel.recv(_PIECE, _PEEK)):
                line += channel.recv(seen.find(b"\n") + 1 or len(seen))
            return cls(channel, Assignment.read(line))
        except (OSError, ValueError, TypeError) as error:
            raise NoSupervisor(f"--as-worker is for the processes that --workers starts: {error}") from error

    def guard(self, admin: web.Application) -> web.Application:
        """Make the application of the admin port refuse requests that are not from the supervisor (``Forbidden``)."""

        @web.middleware
        async def supervisor_only(request: web.Request, handler: Handler) -> web.StreamResponse:
            sent = request.headers.get(FROM_SUPERVISOR, "").encode(errors="surrogateescape")
            if not hmac.compare_digest(sent, self.assignment.secret.encode()):
                raise Forbidden("this port is for the parent of the worker")
            request[PEER] = request.headers.get(SUPERVISOR_PEER, "")
            return await handler(request)

        admin.middlewares.append(supervisor_only)
        return admin

    def manager(self) -> ServiceManager:
        """Return what sends the states of this worker to the supervisor."""
        return ServiceManager(None, SIGN_TIMEOUT, deliver=self._send, receiver="the parent")

    def send(self, name: Literal["GRACE", "VERSION", "SETTINGS", "HEARD", "SIGNAL"], value: str) -> None:
        """Send a state of this worker, unless the supervisor has ended or hangs."""
        with suppress(OSError):
            self._send(f"{name}={value}".encode())

    def send_heard(self) -> None:
        """Send that the list for nginx is another, once in a step of the loop: nobody can ask for it before."""
        if not self._has_sent_heard:
            self._has_sent_heard = True
            asyncio.get_running_loop().call_soon(self._reset_heard)
            self.send("HEARD", "1")

    @asynccontextmanager
    async def obeying(self, signals: Signals) -> AsyncIterator[None]:
        """Within the block, set ``signals`` as the supervisor orders. If the supervisor ends, that is an order to stop.

        SIGTERM and SIGINT start the drain, too. They never end it, since Ctrl-C reaches both processes.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, signals.stop.set)
        for signum, order in ((signal.SIGHUP, RELOAD), (signal.SIGUSR2, ROLL)):
            loop.add_signal_handler(signum, self._pass_on, order)
        reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        try:
            async with background("orders-of-the-parent", self._obey(reader, signals)):
                yield
        finally:
            self._writer.close()

    def _pass_on(self, order: str) -> None:
        """Pass a signal on to the supervisor, which reloads or replaces workers: ``pidof`` also names workers."""
        logger.info("the signal to %s is passed on to the parent: worker=%s", order, self.assignment.number)
        self.send("SIGNAL", order)

    async def _obey(self, reader: asyncio.StreamReader, signals: Signals) -> None:
        orders = {STOP: signals.stop, FORCE: signals.force_stop, RELOAD: signals.reload}
        with suppress(OSError):
            async for line in reader:
                order, _, about = line.strip().decode(errors="replace").partition(" ")
                if order == ASKED:
                    self.on_asked(about)
                elif (ordered := orders.get(order)) is not None:
                    ordered.set()
        logger.warning("the parent of this worker has ended: worker=%s", self.assignment.number)
        signals.stop.set()

    def _reset_heard(self) -> None:
        self._has_sent_heard = False

    def _send(self, state: bytes) -> None:
        if self._writer is None or self._writer.is_closing():
            raise BrokenPipeError("the channel is closed")
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT:
            raise BlockingIOError("the parent does not read")
        self._writer.write(state + b"\n")


def _taken(descriptor: int) -> socket.socket:
    taken = socket.socket(fileno=descriptor)
    taken.setblocking(False)
    taken.set_inheritable(False)
    return taken
