"""Clients that take next to nothing of what waits for them are cut; who is merely slow is served."""

import asyncio
import contextlib
import fcntl
import logging
import struct
import termios
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from gateway.delivery.reset import reset

logger = logging.getLogger(__name__)

_LEAST: Final = 1024  # bytes a second
_NUMBER: Final = struct.Struct("i")


class LowSpeed:
    """Cuts the connection of a client that took less than 1 KiB a second for ``seconds``, though more waited for it.

    A deadline for each write would ask for the whole piece in time, and so cut those who take it slowly. Here one timer
    looks at all answers under way, every ``seconds``: what waits at one look must have moved by the next.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: set[_Progress] = set()
        self._is_looking = False

    @contextlib.contextmanager
    def watch(self, request: web.BaseRequest) -> Iterator[None]:
        """To be held while an answer to the request is written; a cut connection fails the writing."""
        progress = _Progress(request)
        self._watched.add(progress)
        if not self._is_looking:
            self._look_later()
        try:
            yield
        finally:
            self._watched.discard(progress)

    def _look_later(self) -> None:
        self._is_looking = bool(self._watched)
        if self._is_looking:
            asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        for progress in self._watched:
            progress.demand(_LEAST * self._seconds)
        self._look_later()


class _Progress:
    """How far one answer has come, in bytes."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._written = self._taken = 0  # by the last look

    def demand(self, least: float) -> None:
        """Cut the connection unless so much was taken since the last look, or all that was there to be taken."""
        transport = self._request.transport
        if transport is None:
            return
        written = self._request.writer.output_size
        taken = written - transport.get_write_buffer_size() - _held_by_the_kernel(transport)
        if taken < min(self._written, self._taken + least):
            logger.debug("client cut: it took %d bytes since the last look", taken - self._taken)
            reset(transport)
        self._written, self._taken = written, taken


def _held_by_the_kernel(transport: asyncio.Transport) -> int:
    """Bytes that the client has not acknowledged (SIOCOUTQ, tcp(7)); 0 where that cannot be told.

    They can be megabytes, and the kernel says that there is room again only when a third of them is gone.
    """
    connection = transport.get_extra_info("socket")
    try:
        return int(_NUMBER.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_NUMBER.size)))[0])
    except OSError:
        return 0
