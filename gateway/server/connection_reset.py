"""Closing a connection with an RST."""

import asyncio
import contextlib
import socket
import struct
from typing import Final

_NO_LINGER: Final = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport | None) -> None:
    """Close with an RST (SO_LINGER of 0 seconds, socket(7)). None is a connection that is already closed.

    A client cannot mistake an RST for the end of a response. The kernel frees its send buffer at once: after an orderly
    close it would keep the buffer until the client has read it.
    """
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # already closed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
