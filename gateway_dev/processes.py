"""Child processes that end with their parent, and what servers need: accounts, ports, locked folders, private files."""

import ctypes
import fcntl
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
# Below the ports that systems assign to outgoing connections (Linux from 32768, others from 49152), also for a Redis
# Cluster bus (port + 10000). So a restarted server finds its port free, and a client that connects while the server is
# down cannot be assigned the same port and connect to itself.
PORTS = range(10240, 22528)
_TRIES = 20  # of a free port
_PR_SET_PDEATHSIG = 1
_KILL_TIMEOUT = 10.0  # seconds that a killed process may take to end


class ServerError(Exception):
    """A server that cannot be found, started or stopped. The message names the remedy."""


@dataclass(frozen=True)
class Account:
    """The user and group that a child runs as."""

    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> Self | None:
        """Return `nobody` if this process is root, else None: the child runs as the same user."""
        if os.geteuid() != 0:
            return None
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)


def wait_until(predicate: Callable[[], bool], timeout: float) -> bool:
    """Return whether `predicate` became true within `timeout` seconds. Block until then."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def free_port(ports: Sequence[int] = PORTS) -> int:
    """Return a port of 127.0.0.1 on which nothing listens now. Another process may still take it first."""
    for _ in range(100):
        port = secrets.choice(ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ServerError(f"no free port found on {HOST} between {ports[0]} and {ports[-1]}")


def lock_folder(folder: Path) -> int:
    """Create the folder if it does not exist, and lock it. Return the descriptor that holds the lock.

    The lock ends when the descriptor is closed or this process ends. Raises ``BlockingIOError`` if another process
    has the lock, ``OSError`` if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def processes_in(folder: Path, names: Iterable[str]) -> set[int]:
    """Return the ids of running processes with one of these names whose working directory is `folder`.

    PostgreSQL, Redis and the processes they fork have their data folder as working directory. The names exclude a
    shell that a user opened there. Empty without /proc (outside Linux).
    """
    ids = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or it is another user's
            if (entry / "comm").read_text().strip() in names and (entry / "cwd").samefile(folder):
                ids.add(int(entry.name))
    return ids


class Child:
    """Child process in its own session, killed when this process ends."""

    def __init__(self, command: Sequence[str], *, log: Path, account: Account | None = None) -> None:
        """Start `command` and append its output to `log`. Raises ServerError if it cannot be started."""
        started: Future[subprocess.Popen[bytes]] = Future()
        # Linux sends the death signal when the THREAD that forked ends. A thread of a pool may end long before the
        # process, so each child has its own thread, which waits for the child and reaps it.
        self._reaper = threading.Thread(
            target=self._run, args=(started, command, log, account), name=f"reaper of {command[0]}", daemon=True
        )
        self._reaper.start()
        try:
            self._process = started.result()
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"{command[0]} could not be started: {error}") from error
        self.pid = self._process.pid

    @staticmethod
    def _run(
        started: "Future[subprocess.Popen[bytes]]", command: Sequence[str], log: Path, account: Account | None
    ) -> None:
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",  # the account may have no access to our working directory
                    env={"PATH": os.defpath, "LC_ALL": "C"},  # not PGDATA, LANG or TZ of the terminal
                    umask=0o077,
                    start_new_session=True,  # Ctrl-C only signals this process, which stops the servers in order
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    preexec_fn=_die_with_parent(),
                )
        except BaseException as error:  # noqa: BLE001 - re-raised by __init__
            started.set_exception(error)
        else:
            started.set_result(process)
            process.wait()

    @property
    def exit_code(self) -> int | None:
        """Exit code, or the negative number of the signal that ended it. None while it runs."""
        return self._process.returncode

    def wait(self, timeout: float) -> bool:
        """Return whether it ended within `timeout` seconds."""
        self._reaper.join(timeout)
        return not self._reaper.is_alive()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. Do nothing if the process has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait until the process has ended. Do nothing if it has already ended."""
        self.signal(signal.SIGKILL)
        self.wait(_KILL_TIMEOUT)


def _die_with_parent() -> Callable[[], None] | None:
    """Return the function that a forked child calls to be killed when its parent dies, or None outside Linux.

    See PR_SET_PDEATHSIG in prctl(2). A change of user clears the setting; Popen calls `preexec_fn` after that change.
    The signal is SIGKILL because a paused server reacts to no other. The journals of both servers make that safe.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()  # looked up before the fork: few calls are safe after it

    def in_child() -> None:  # pragma: no cover - coverage does not measure code between fork and exec
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return in_child


def claim_port(port: int, claims: ExitStack) -> int:
    """Return ``port`` if it is free and unclaimed, else another port. Claim the port until ``claims`` is closed.

    A server listens on its port only seconds after the port was found to be free, and another development server
    could choose the same port meanwhile. Binding the UDP port of the same number marks the port as claimed. No
    datagram is ever sent there. Raises ``OSError`` if no free port is found.
    """
    for candidate in (port, *[0] * _TRIES):
        claim, probe = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, candidate))
            number: int = probe.getsockname()[1]
            claim.bind((HOST, number))
        except OSError:
            claim.close()
            probe.close()
            continue
        claims.enter_context(claim)
        if sys.platform == "linux":
            # While it is bound, no outgoing connection gets the port, not even while the gateway restarts. Linux lets a
            # server listen on it all the same; other systems do not.
            claims.enter_context(probe)
        else:
            probe.close()
        return number
    raise OSError(f"no free port on {HOST}")


@contextmanager
def locked_data_dir(data_dir: Path) -> Iterator[Path]:
    """Create the directory if it does not exist, and lock it for the duration.

    Raises ``ServerError`` if another stack has the lock or the directory cannot be written.
    """
    try:
        lock = lock_folder(data_dir)
    except BlockingIOError:
        raise ServerError(
            f"`make run` or `gateway dev` is already running on {data_dir}: "
            "open an address that it printed, or stop it, or name another folder with --state"
        ) from None
    except OSError as error:
        raise ServerError(
            f"the folder {data_dir} cannot be written: {error.strerror}; name another one with --state"
        ) from error
    try:
        yield data_dir
    finally:
        os.close(lock)


def load_link_key(file: Path) -> str:
    """Return the key that signs links. Create it the first time, so that links stay valid after a restart."""
    if not file.exists():
        write_privately(file, secrets.token_urlsafe(32))
    return file.read_text(encoding="utf-8")


def write_privately(file: Path, text: str) -> None:
    """Write a file with mode 0600."""
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
