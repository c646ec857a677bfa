"""Base class of the servers of the development stack: a child process with a data folder."""

import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from gateway_dev.processes import Account, Child, ServerError, free_port, lock_folder, processes_in, wait_until

_LOG_TAIL = 3000  # characters of the log that an error shows
_RETRY_FOR = 5.0  # seconds in which a start is repeated after a transient failure
_KILL_TIMEOUT = 10.0  # seconds that a killed process may take to end


class Server(ABC):
    """A server on 127.0.0.1, run as a child process with a data folder.

    `with` starts and stops the server. In between, tests may `kill`, `pause`, `resume`, `stop` and `start` it. Each
    later start uses the same port and data. Only one process at a time may lock a data folder. A start ends the server
    processes that a process which died left running there.
    """

    name: ClassVar[str]
    programs: ClassVar[frozenset[str]]  # names that its processes may have
    stop_signal: ClassVar[signal.Signals]
    transient_failures: ClassVar[tuple[str, ...]]  # log texts of failures after which the start is repeated

    start_timeout = 30.0  # seconds until the first answer
    stop_timeout = 10.0  # seconds for an orderly stop, before it is killed

    def __init__(self, data_dir: Path, *, port: int, ephemeral: bool, extra_args: Sequence[str]) -> None:
        """`port` 0 chooses a free port. `extra_args` are appended to the command line.

        `ephemeral` turns durability off for speed, and removes the data when `with` ends.
        """
        self.data_dir = data_dir.resolve()
        self.log = self.data_dir / "server.log"
        self.port = port
        self.ephemeral = ephemeral
        self.extra_args = tuple(extra_args)
        self.account: Account | None = None  # that the child runs as; None: the user of this process
        self._child: Child | None = None
        self._lock: int | None = None

    @property
    @abstractmethod
    def data(self) -> Path:
        """Working directory of the server."""

    @abstractmethod
    def _prepare(self) -> None:
        """Find the program and prepare the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line, with `self.port`."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether this server answers now, and not another server on its port."""

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int:
        """Process id. Raises ServerError if the server is not started."""
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
        """Start the server and wait until it answers. Do nothing if it runs.

        Raises ServerError with the end of the log if it does not answer within `start_timeout`.
        """
        if self.is_running:
            return
        self._lock_data_dir()
        try:
            self._kill_leftovers()
            self._prepare()
            now = time.monotonic()
            while not self._try_start(retry=time.monotonic() < now + _RETRY_FOR):
                time.sleep(0.1)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server in order, and kill it after `stop_timeout`. Do nothing if it is not started."""
        if self._lock is None:
            return
        try:
            if self._child is not None:
                self._child.signal(self.stop_signal)
                self.resume()  # a paused process does not handle the signal
                if not self._child.wait(self.stop_timeout):
                    self.kill()
            self._kill_leftovers()
        finally:
            self._child = None
            os.close(self._lock)
            self._lock = None

    def kill(self) -> None:
        """Send SIGKILL to all its processes and wait until they have ended."""
        if self._child is not None:
            self._child.kill()
            self._kill_leftovers()

    def pause(self) -> None:
        """Freeze all its processes (SIGSTOP): the kernel still accepts connections, but nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause. Do nothing if the server is not paused."""
        self._signal_all(signal.SIGCONT)

    def remove_data(self) -> None:
        """Stop the server and remove its data. Keep the log."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def _signal_all(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.signal(number)  # first: a frozen parent starts no further processes
            for pid in processes_in(self.data, self.programs) - {self._child.pid}:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _lock_data_dir(self) -> None:
        """Lock the data folder. The system releases the lock when this process ends."""
        if self._lock is not None:
            return
        try:
            self._lock = lock_folder(self.data_dir)
        except OSError as error:
            reason = "another process is using it" if isinstance(error, BlockingIOError) else str(error)
            raise ServerError(f"{self.name} cannot use the folder {self.data_dir}: {reason}") from error

    def _kill_leftovers(self) -> None:
        """Kill the server processes in the data folder. This process has the lock, so no other process uses them."""

        def all_ended() -> bool:
            leftovers = processes_in(self.data, self.programs)
            for pid in leftovers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not leftovers

        if not wait_until(all_ended, _KILL_TIMEOUT):
            raise ServerError(f"processes of {self.name} in {self.data} do not end")

    def _try_start(self, *, retry: bool) -> bool:
        """Return whether the server answers; False after a transient failure if `retry` is allowed."""
        chose_port = not self.port
        self.port = self.port or free_port()
        log_size = self.log.stat().st_size if self.log.exists() else 0
        self._child = child = Child(self.command(), log=self.log, account=self.account)
        if wait_until(lambda: child.exit_code is not None or self.answers(), self.start_timeout) and self.is_running:
            return True
        with self.log.open("rb") as log:
            log.seek(log_size)
            tail = log.read().decode(errors="replace")[-_LOG_TAIL:].strip()
        if retry and child.exit_code is not None and any(text in tail for text in self.transient_failures):
            if chose_port:
                self.port = 0
            return False
        outcome = "did not answer" if child.exit_code is None else f"ended with code {child.exit_code}"
        raise ServerError(f"{self.name} {outcome} within {self.start_timeout:g} s; its log {self.log} ends:\n{tail}")
