"""Ports that stay free for a server of a test which is away for a while."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from gateway_dev.processes import free_port


@contextmanager
def reserved_port(host: str = "127.0.0.1") -> Iterator[int]:
    """Yield a port that ``free_port`` gives to nobody else, also while the test's own server does not listen on it.

    A socket is bound to it that does not listen: servers, which set SO_REUSEADDR (socket(7)), can bind it as well.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind((host, free_port()))
        yield int(keeper.getsockname()[1])
