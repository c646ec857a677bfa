"""The hardest end that a connection can have."""

import asyncio
import contextlib
import socket
import struct
from typing import Final

_AT_ONCE: Final = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport | None) -> None:
    """Close with an RST (SO_LINGER of 0 seconds, socket(7)).

    Nobody takes that for the end of an answer, and what the kernel still holds for the client is free at once: an
    orderly close would first wait for it to be taken.
    """
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it may be gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
