"""Reads of a file in a thread: one at a time, so that a file system that hangs keeps one thread at most."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.concurrency.background import in_daemon_thread
from gateway.presign.credentials import CredentialsUnavailable

T = TypeVar("T")


class FileReads:
    """Runs reads of one file. A read without a caller keeps its thread, and no other read starts meanwhile."""

    def __init__(self) -> None:
        self._under_way: asyncio.Future[Any] | None = None

    async def run(self, read: Callable[[], T]) -> T:
        """Return the result of ``read``. Raises ``CredentialsUnavailable`` while an earlier one has not ended."""
        if self._under_way is not None and not self._under_way.done():
            raise CredentialsUnavailable("an earlier read of the file has not ended")
        self._under_way = reading = in_daemon_thread(read, "read-credentials")
        return await asyncio.shield(reading)
