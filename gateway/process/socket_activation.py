"""Listening sockets that systemd opened before it started the gateway (sd_listen_fds(3)).

``LISTEN_FDS`` is their number, from descriptor 3 on, and ``LISTEN_PID`` the process that they are for. A socket that
outlives its process keeps its unaccepted connections, and the next process accepts them.
"""

import os
import re
import socket
from collections.abc import Mapping
from typing import Final

_FIRST: Final = 3  # SD_LISTEN_FDS_START
_MOST: Final = 64  # the port on IPv4, on IPv6, on some addresses


class UnusableSocket(OSError):
    """A socket from systemd is not a listening TCP socket. The message names the change that the unit needs."""


def inherited_listeners(environment: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the sockets that this process inherited, for the public port. Empty if there are none.

    Raises ``UnusableSocket``.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count:
        return []
    if not re.fullmatch("[0-9]{1,4}", count) or int(count) > _MOST:
        raise UnusableSocket(f"LISTEN_FDS is not a number of sockets, 0 to {_MOST}")
    return [_listener(descriptor) for descriptor in range(_FIRST, _FIRST + int(count))]


def _listener(descriptor: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
        is_tcp = listener.type == socket.SOCK_STREAM and listener.family in (socket.AF_INET, socket.AF_INET6)
        is_listening = is_tcp and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError as error:
        raise UnusableSocket(f"descriptor {descriptor} of LISTEN_FDS: {error.strerror}") from error
    if not is_listening:
        listener.detach()  # the descriptor stays open
        raise UnusableSocket(
            f"descriptor {descriptor} of LISTEN_FDS is not a listening TCP socket: "
            "the socket unit needs ListenStream= with a port, and Accept=no"
        )
    os.set_inheritable(descriptor, False)
    listener.setblocking(False)
    return listener
