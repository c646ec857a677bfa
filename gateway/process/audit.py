"""The audit log: a line of JSON for each act of an operator, in a stream of its own."""

import asyncio
import getpass
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.concurrency.background import in_daemon_thread
from gateway.process.logs import log_handler
from gateway.settings import Live, LoggingSettings

logger = logging.getLogger(__name__)

STANDARD_ERROR: Final = "-"
_MODE: Final = 0o640
_LONGEST_WRITE: Final = 2.0  # seconds that an act waits for the disk


@dataclass(slots=True)
class AuditLog:
    """Writes a line for each operator's act to the file ``logging.audit`` (``-``: standard error). None: no audit log.

    The file is opened for each line, so that it may be moved away at any time. A line that cannot be written whole
    goes to the log at the level error, and the act itself goes on: a takedown must not wait for a disk. While a disk
    hangs, it may still write the line that it was given first. ``count_lost`` is called for each line that is lost.
    """

    settings: Live[LoggingSettings]
    worker: int | None = None
    count_lost: Callable[[], None] = lambda: None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _writing: "asyncio.Future[None] | None" = field(default=None, init=False)

    @property
    def is_on(self) -> bool:
        return self.settings.value.audit is not None

    async def note(
        self, action: str, caller: str, *, client: str | None = None, request_id: str | None = None, **facts: Any
    ) -> None:
        """Write that ``caller`` has done ``action``. ``client``: the address. Facts that are None are left out."""
        target = self.settings.value.audit
        if target is None:
            return
        said = {"action": action, "caller": caller, "client": client, "request_id": request_id}
        known = {name: value for name, value in (said | facts | {"worker": self.worker}).items() if value is not None}
        line = json.dumps({"event": "audit", "timestamp": datetime.now(UTC).isoformat(), **known}) + "\n"
        if target == STANDARD_ERROR:
            stream = handler.stream if (handler := log_handler()) is not None else sys.stderr
            stream.write(line)
            stream.flush()
            return
        reason: object = "the disk does not answer"
        async with self._lock:  # lines in their order
            if self._writing is None or self._writing.done():
                self._writing = in_daemon_thread(partial(_append, Path(target), line), "audit")
                await asyncio.wait([self._writing], timeout=_LONGEST_WRITE)
                if self._writing.done():
                    error = self._writing.exception()
                    if error is None:
                        return
                    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        self.count_lost()
        logger.error("audit line not written: reason=%s line=%s", reason, line.rstrip())


def operating_user() -> str:
    """Return who runs this command: the user of the system, and who became that user by sudo."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"system:{user}"


def _append(path: Path, line: str) -> None:
    """Append the line. A file that root makes belongs to the owner of its folder, as the gateway writes to it, too."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        state, folder = os.fstat(descriptor), path.parent.stat()
        if os.geteuid() == 0 and state.st_uid == 0 and folder.st_uid != 0:
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        # A full disk may have cut off the last line of this or another process.
        rest = (b"" if _is_whole(path) else b"\n") + line.encode()
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _is_whole(path: Path) -> bool:
    """Return whether the last line of the file has an end; also if there is none, or if this user may not read it."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"  # no more: a device such as /dev/full has no end
    except OSError:
        return True
