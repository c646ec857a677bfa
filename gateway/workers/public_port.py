"""The sockets of the public port for workers: a socket each, over which the kernel spreads connections.

The sockets are bound to the same port with SO_REUSEPORT (socket(7)) and do not listen: a worker listens when it is
ready. The kernel gives connections only to listening sockets, so a worker that starts or has ended gets none.
"""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Self

from gateway.net.port import cannot_listen, url_of


class PublicPort:
    """Holds the port while workers come and go: ``inherited`` sockets of systemd, or sockets of its own.

    With ``inherited`` every worker accepts on the same sockets, which stay open when all have ended.
    """

    def __init__(self, holders: Sequence[socket.socket], *, is_inherited: bool) -> None:
        self._holders = holders
        self._is_inherited = is_inherited

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
        address, port = self._holders[0].getsockname()[:2]
        return url_of(address if self._is_inherited else host, port)

    @contextmanager
    def for_a_worker(self) -> Iterator[list[socket.socket]]:
        """Yield the sockets for a worker, which must inherit them within the block."""
        if self._is_inherited:
            yield list(self._holders)
            return
        with ExitStack() as stack:
            yield [stack.enter_context(_on_the_same_port(holder)) for holder in self._holders]

    def close(self) -> None:
        """Give the port back."""
        for holder in self._holders:
            holder.close()


def _on_the_same_port(holder: socket.socket) -> socket.socket:
    bound = socket.socket(holder.family, holder.type)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if holder.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(holder.getsockname())
    except OSError:
        bound.close()
        raise
    return bound
