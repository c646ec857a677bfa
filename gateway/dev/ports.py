"""Ports of the development servers: the usual ones if they can be had."""

import socket
from contextlib import ExitStack
from typing import Final

_HOST: Final = "127.0.0.1"
_TRIES: Final = 20


def claim_port(port: int, claims: ExitStack) -> int:
    """``port`` if nobody listens on it or has claimed it, else any such; claimed until ``claims`` is closed.

    Between looking at a port and listening on it there are seconds, in which another development server would choose
    the same. The UDP port of the same number says that it is taken: nothing is ever sent there. Raises ``OSError``
    when there is none.
    """
    for candidate in (port, *[0] * _TRIES):
        claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((_HOST, candidate))
                number: int = probe.getsockname()[1]
                claim.bind((_HOST, number))
        except OSError:
            claim.close()
            continue
        claims.enter_context(claim)
        return number
    raise OSError(f"no free port on {_HOST}")
