"""Reads of a file in a thread: one at a time, so that a file system that hangs does not keep every thread."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.presign.credentials import CredentialsUnavailable

T = TypeVar("T")


class FileReads:
    """Runs reads of one file. A read without a caller keeps its thread, and no other read starts meanwhile."""

    def __init__(self) -> None:
        self._under_way: asyncio.Future[Any] | None = None

    async def run(self, read: Callable[[], T]) -> T:
        """Return the result of ``read``; raises ``CredentialsUnavailable`` while an earlier one has not ended."""
        if self._under_way is not None:
            raise CredentialsUnavailable("an earlier read of the file has not ended")
        reading = asyncio.get_running_loop().run_in_executor(None, read)
        self._under_way = reading
        reading.add_done_callback(self._ended)
        return await asyncio.shield(reading)

    def _ended(self, reading: "asyncio.Future[T]") -> None:
        self._under_way = None
        if not reading.cancelled():
            reading.exception()  # otherwise asyncio warns if no caller waits any more
