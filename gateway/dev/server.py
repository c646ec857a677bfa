"""A server of the embedded stack: one child process over one data folder."""

import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from gateway.dev.processes import Account, Child, ServerError, free_port, lock_folder, processes_in, wait_until

_LOG_TAIL = 3000  # characters of the log that an error shows
_RETRY_FOR = 5.0  # seconds in which a start that failed for a passing reason is tried again
_KILL_TIMEOUT = 10.0  # seconds a killed process may take to be gone


class Server(ABC):
    """A server on 127.0.0.1, run as a child process over a data folder.

    `with` starts and stops it; in between, tests may `kill`, `pause`, `resume`, `stop` and `start` it: each later start
    has the same port and data. One process at a time may hold a data folder; what a dead one left running is ended.
    """

    name: ClassVar[str]
    programs: ClassVar[frozenset[str]]  # the names its processes may have
    stop_signal: ClassVar[signal.Signals]
    passing: ClassVar[tuple[str, ...]]  # log texts of failures that pass: the start is tried again

    start_timeout = 30.0  # seconds to the first answer
    stop_timeout = 10.0  # seconds for an orderly stop, after which it is killed

    def __init__(self, data_dir: Path, *, port: int, ephemeral: bool, extra_args: Sequence[str]) -> None:
        """`port` 0 picks a free one; `extra_args` end the command line.

        `ephemeral` trades safety for speed and removes the data when `with` ends.
        """
        self.data_dir = data_dir.resolve()
        self.log = self.data_dir / "server.log"
        self.port = port
        self.ephemeral = ephemeral
        self.extra_args = tuple(extra_args)
        self._account: Account | None = None
        self._child: Child | None = None
        self._lock: int | None = None

    @property
    @abstractmethod
    def data(self) -> Path:
        """The folder the server works in."""

    @abstractmethod
    def _prepare(self) -> None:
        """Find the program and make the data folder ready."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line, for `self.port`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether this very server answers now."""

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int:
        """Its process id. Raises ServerError when it was not started."""
        if self._child is None:
            raise ServerError(f"{self.name} is not started")
        return self._child.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if self.ephemeral:
                self.remove_data()

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens when it runs. Raises ServerError with the log's end."""
        if self.is_running:
            return
        self._hold_folder()
        try:
            self._end_remains()
            self._prepare()
            now = time.monotonic()
            while not self._try_start(retry=time.monotonic() < now + _RETRY_FOR):
                time.sleep(0.1)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it in order, killing it after `stop_timeout`; nothing happens when it is not started."""
        if self._lock is None:
            return
        try:
            if self._child is not None:
                self._child.signal(self.stop_signal)
                self.resume()  # or a paused one would never hear of it
                if not self._child.wait(self.stop_timeout):
                    self.kill()
            self._end_remains()
        finally:
            self._child = None
            os.close(self._lock)
            self._lock = None

    def kill(self) -> None:
        """SIGKILL, to all its processes, and wait until they are gone."""
        if self._child is not None:
            self._child.kill()
            self._end_remains()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): the system still accepts connections for it, no answer comes."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause; nothing happens when there was none."""
        self._signal_all(signal.SIGCONT)

    def remove_data(self) -> None:
        """Stop it and remove its data; the log stays."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def _signal_all(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.signal(number)  # first: once it is frozen it forks no more
            for pid in processes_in(self.data, self.programs) - {self._child.pid}:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _hold_folder(self) -> None:
        """Lock the data folder; the system lets go of the lock when this process ends, however it ends."""
        if self._lock is not None:
            return
        try:
            self._lock = lock_folder(self.data_dir)
        except OSError as error:
            reason = "another process is using it" if isinstance(error, BlockingIOError) else str(error)
            raise ServerError(f"{self.name} cannot have the folder {self.data_dir}: {reason}") from error

    def _end_remains(self) -> None:
        """Kill what still runs in the data folder; we hold its lock, so it is nobody's."""

        def gone() -> bool:
            remains = processes_in(self.data, self.programs)
            for pid in remains:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not remains

        if not wait_until(gone, _KILL_TIMEOUT):
            raise ServerError(f"processes of {self.name} in {self.data} do not end")

    def _try_start(self, *, retry: bool) -> bool:
        """Whether it came up; False when it failed for a passing reason and may `retry`."""
        picked = not self.port
        self.port = self.port or free_port()
        printed = self.log.stat().st_size if self.log.exists() else 0
        self._child = child = Child(self._command(), log=self.log, account=self._account)
        if wait_until(lambda: child.exit_code is not None or self._answers(), self.start_timeout) and self.is_running:
            return True
        with self.log.open("rb") as log:
            log.seek(printed)
            tail = log.read().decode(errors="replace")[-_LOG_TAIL:].strip()
        if retry and child.exit_code is not None and any(text in tail for text in self.passing):
            if picked:
                self.port = 0
            return False
        fate = "did not answer" if child.exit_code is None else f"ended with code {child.exit_code}"
        raise ServerError(f"{self.name} {fate} within {self.start_timeout:g} s; its log {self.log} ends:\n{tail}")
