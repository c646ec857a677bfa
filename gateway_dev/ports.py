"""Ports of the development servers: the usual ones if they are free."""

import socket
import sys
from contextlib import ExitStack
from typing import Final

_HOST: Final = "127.0.0.1"
_TRIES: Final = 20


def claim_port(port: int, claims: ExitStack) -> int:
    """Return ``port`` if it is free and unclaimed, else another port. Claim the port until ``claims`` is closed.

    A server listens on its port only seconds after the port was found to be free, and another development server
    could choose the same port meanwhile. Binding the UDP port of the same number marks the port as claimed. No
    datagram is ever sent there. Raises ``OSError`` if no free port is found.
    """
    for candidate in (port, *[0] * _TRIES):
        claim, probe = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, candidate))
            number: int = probe.getsockname()[1]
            claim.bind((_HOST, number))
        except OSError:
            claim.close()
            probe.close()
            continue
        claims.enter_context(claim)
        if sys.platform == "linux":
            # While it is bound, no outgoing connection gets the port, not even while the gateway restarts. Linux lets a
            # server listen on it all the same; other systems do not.
            claims.enter_context(probe)
        else:
            probe.close()
        return number
    raise OSError(f"no free port on {_HOST}")
