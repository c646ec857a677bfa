"""The place of a worker: the sockets and the channel that its parent gave it.

The channel is a socket pair. The parent writes one line of JSON, and later ``stop``, ``force`` and ``reload``, each on
a line. The worker writes the states of sd_notify(3), and before it drains ``GRACE=`` with the seconds that this may
take. The end of the channel is the end of the parent, however that came about.

Every user of this machine reaches the admin port of a worker. So a request to it must have the secret that the parent
gave to this worker.
"""

import asyncio
import hmac
import json
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.delivery.request_context import PEER
from gateway.errors import Forbidden
from gateway.process.service_manager import ServiceManager

logger = logging.getLogger(__name__)

STOP: Final = "stop"  # drain and end
FORCE: Final = "force"  # end the drain at once
RELOAD: Final = "reload"  # reload the configuration
GRACE: Final = b"GRACE"
# Headers of requests to the admin port: the secret of the parent, and the address of its client.
FROM_PARENT: Final = "X-From-Parent"
PARENT_PEER: Final = "X-Parent-Peer"
SIGN_TIMEOUT: Final = 2.0  # seconds; a sign of life comes twice in it

_LONGEST_LINE: Final = 4096  # bytes; it names the descriptors of at most 64 sockets of systemd


@dataclass(frozen=True, slots=True)
class Assignment:
    """The number of a worker, the descriptors that it inherits, and the secret of its admin port."""

    number: int
    public: Sequence[int]
    admin: int
    secret: str

    def line(self) -> bytes:
        """Return the first line that the parent writes."""
        return json.dumps(asdict(self)).encode() + b"\n"


class NoParent(OSError):
    """The descriptor is not a channel: only ``serve --workers`` starts workers."""


class Place:
    """The sockets of this worker, and its end of the ``channel``."""

    def __init__(self, channel: socket.socket, assignment: Assignment, received: bytes = b"") -> None:
        self.number = assignment.number
        self.public = [_taken(descriptor) for descriptor in assignment.public]
        self.admin = [_taken(assignment.admin)]
        self._secret = assignment.secret.encode()
        channel.setblocking(False)
        self._channel = channel
        self._received = received

    @classmethod
    def take(cls, descriptor: int) -> Self:
        """Return the place whose channel is ``descriptor``; raises ``NoParent``."""
        try:
            channel = _taken(descriptor)
            # The parent wrote it before it started this process.
            text, _, orders = channel.recv(_LONGEST_LINE, socket.MSG_DONTWAIT).partition(b"\n")
            return cls(channel, Assignment(**json.loads(text)), orders)
        except (OSError, ValueError, TypeError) as error:
            raise NoParent(f"--as-worker is for the processes that --workers starts: {error}") from error

    def guard(self, admin: web.Application) -> web.Application:
        """Make the application of the admin port refuse requests that are not from the parent (``Forbidden``)."""

        @web.middleware
        async def parent_only(request: web.Request, handler: Handler) -> web.StreamResponse:
            sent = request.headers.get(FROM_PARENT, "").encode(errors="surrogateescape")
            if not hmac.compare_digest(sent, self._secret):
                raise Forbidden("this port is for the parent of the worker")
            request[PEER] = request.headers.get(PARENT_PEER, "")
            return await handler(request)

        admin.middlewares.append(parent_only)
        return admin

    def manager(self) -> ServiceManager:
        """Return the manager that sends the states of this worker to the parent."""
        return ServiceManager(
            None, SIGN_TIMEOUT, deliver=lambda state: self._channel.send(state + b"\n"), receiver="the parent"
        )

    def send_grace(self, seconds: float) -> None:
        """Send the parent the seconds that the drain may take, which a reload may have changed."""
        with suppress(OSError):  # the parent has ended, or hangs
            self._channel.send(b"%s=%g\n" % (GRACE, seconds))

    def obey(self, orders: Mapping[str, Callable[[], None]]) -> None:
        """Call what belongs to each order of the parent; the end of the parent is the order ``STOP``."""
        self._carry_out(b"", orders)
        asyncio.get_running_loop().add_reader(self._channel, self._read, orders)

    def _read(self, orders: Mapping[str, Callable[[], None]]) -> None:
        try:
            received = self._channel.recv(_LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            asyncio.get_running_loop().remove_reader(self._channel)
            logger.warning("the parent of this worker has ended: worker=%s", self.number)
            orders[STOP]()
            return
        self._carry_out(received, orders)

    def _carry_out(self, received: bytes, orders: Mapping[str, Callable[[], None]]) -> None:
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            orders[line.decode()]()


def _taken(descriptor: int) -> socket.socket:
    taken = socket.socket(fileno=descriptor)
    taken.setblocking(False)
    taken.set_inheritable(False)
    return taken
