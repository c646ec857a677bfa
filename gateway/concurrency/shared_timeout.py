"""Waits that all may last equally long, bounded by one timer."""

import asyncio
import time
from types import TracebackType


class SharedTimeout:
    """``with patience.bounded():`` raises ``TimeoutError`` when what it holds lasts longer than ``seconds``.

    ``asyncio.timeout`` and the read time-outs of aiohttp set a timer for every wait and take it back when it is over: a
    twentieth of what relaying a small image takes. Waits of one length run out in the order in which they began, so a
    timer for the oldest is enough, and it is left standing when that one ends.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waits: dict[_Wait, None] = {}  # the oldest first
        self.is_looking = False

    def bounded(self) -> "_Wait":
        """One wait of this task, or several, one after another."""
        return _Wait(self)

    def look(self) -> None:
        """End those that have run out, and come again when the next one does."""
        now = time.monotonic()
        for wait in list(self.waits):
            if wait.due > now:
                asyncio.get_running_loop().call_later(wait.due - now, self.look)
                return
            del self.waits[wait]
            wait.run_out()
        self.is_looking = False


class _Wait:
    """Cancels its task when it runs out, and takes that for a time-out: as ``asyncio.timeout`` does."""

    __slots__ = ("_cancelling", "_has_run_out", "_shared_timeout", "_task", "due")

    def __init__(self, shared_timeout: SharedTimeout) -> None:
        task = asyncio.current_task()
        assert task is not None, "waits are those of tasks"  # noqa: S101
        self._task = task
        self._cancelling = task.cancelling()
        self._shared_timeout = shared_timeout
        self._has_run_out = False

    def __enter__(self) -> None:
        shared_timeout = self._shared_timeout
        self.due = time.monotonic() + shared_timeout.seconds
        shared_timeout.waits[self] = None
        if not shared_timeout.is_looking:
            shared_timeout.is_looking = True
            asyncio.get_running_loop().call_later(shared_timeout.seconds, shared_timeout.look)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if not self._has_run_out:
            del self._shared_timeout.waits[self]
            return
        # Somebody else may have cancelled the task as well, and that outranks the time-out.
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def run_out(self) -> None:
        """The time is up."""
        self._has_run_out = True
        self._task.cancel()
