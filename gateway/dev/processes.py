"""Server processes of the embedded stack: started, waited for, stopped, and none left behind."""

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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
# Below the ports that systems hand to outgoing connections (Linux from 32768, others from 49152), and so is a Redis
# Cluster bus (port + 10000): a server that comes back finds its port free, and a client that tries while it is away
# cannot be given that very port and end up connected to itself.
PORTS = range(10240, 22528)
_PR_SET_PDEATHSIG = 1
_KILL_TIMEOUT = 10.0  # seconds a killed process may take to be gone


class ServerError(Exception):
    """A server could not be found, started or stopped; the message says what to do about it."""


@dataclass(frozen=True)
class Account:
    """The user and group that a child runs as."""

    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> Self | None:
        """`nobody` when this process is root, else None: the child runs as whoever this is."""
        if os.geteuid() != 0:
            return None
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)


def wait_until(predicate: Callable[[], bool], timeout: float) -> bool:
    """Whether `predicate` became true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def free_port(ports: Sequence[int] = PORTS) -> int:
    """A port of 127.0.0.1 on which nothing listens now; another process may still be faster to take it."""
    for _ in range(100):
        port = secrets.choice(ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ServerError(f"no free port found on {HOST} between {ports[0]} and {ports[-1]}")


def lock_folder(folder: Path) -> int:
    """Make the folder if need be and lock it, until the descriptor that comes back is closed or this process ends.

    Raises ``BlockingIOError`` when another process holds it, ``OSError`` when it cannot be written.
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
    """The ids of running processes of these names whose working directory is `folder`.

    PostgreSQL and Redis change into their data folder, with every process they fork. The name spares the shell that
    somebody opened there. Without a /proc (outside Linux) nothing is found.
    """
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            if (entry / "comm").read_text().strip() in names and (entry / "cwd").samefile(folder):
                found.add(int(entry.name))
    return found


class Child:
    """A child process in a session of its own, that ends at the latest when this process ends."""

    def __init__(self, command: Sequence[str], *, log: Path, account: Account | None = None) -> None:
        """Start `command`, its output appended to `log`. Raises ServerError when it cannot be started."""
        started: Future[subprocess.Popen[bytes]] = Future()
        # Linux sends the death signal when the THREAD that forked ends, which may be one of a pool, long before the
        # process. So the child has a thread to itself, that lives as long as it does, and reaps it.
        self._keeper = threading.Thread(
            target=self._keep, args=(started, command, log, account), name=f"keeper of {command[0]}", daemon=True
        )
        self._keeper.start()
        try:
            self._process = started.result()
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"{command[0]} could not be started: {error}") from error
        self.pid = self._process.pid

    @staticmethod
    def _keep(
        started: "Future[subprocess.Popen[bytes]]", command: Sequence[str], log: Path, account: Account | None
    ) -> None:
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",  # ours may be closed to the account
                    env={"PATH": os.defpath, "LC_ALL": "C"},  # no PGDATA, LANG or TZ of the terminal
                    umask=0o077,
                    start_new_session=True,  # Ctrl-C reaches us alone: we stop the servers, in order
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    preexec_fn=_die_with_parent(),
                )
        except BaseException as error:  # noqa: BLE001 - raised where the child was asked for
            started.set_exception(error)
        else:
            started.set_result(process)
            process.wait()

    @property
    def exit_code(self) -> int | None:
        """How it ended (minus the signal's number when killed), None while it runs."""
        return self._process.returncode

    def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        self._keeper.join(timeout)
        return not self._keeper.is_alive()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL it and wait until it is gone; nothing happens when it has ended."""
        self.signal(signal.SIGKILL)
        self.wait(_KILL_TIMEOUT)


def _die_with_parent() -> Callable[[], None] | None:
    """What the forked child calls to be killed with its parent; None where the system has no such thing.

    A change of user clears the setting: it has to come after, and Popen does call `preexec_fn` after it.
    SIGKILL, since a paused server answers nothing else; the journals of both servers lose nothing by it.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()  # looked up now: little is safe after the fork

    def in_child() -> None:  # pragma: no cover - between fork and exec nothing is measured
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return in_child
