"""Worker processes, as the supervisor sees them, and the command by which it starts them.

An installation may be a folder for each version, and a link to the current version. The interpreter's path, and the
path in the first line (``#!``) of a console script, lead into the folder of a version. So a process that starts them
again starts its own version. The path by which the process was started goes through the link.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Final

from gateway.concurrency.background import first_of
from gateway.process.stuck_loop import STUCK
from gateway.workers import worker_channel

logger = logging.getLogger(__name__)

_LOOPBACK: Final = "127.0.0.1"


class WorkerFailed(Exception):
    """A worker ended, or took too long. ``exit_code``: the exit status of the supervisor when a worker cannot start."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Accepted:
    """The ``command`` and ``settings`` (as text) that a worker accepted at its start or a reload, for its successor.

    ``at`` is when that was known (``time.monotonic``). ``settings`` are None if the worker did not send them. ``ended``
    is why the worker before ended, for the worker that replaces it.
    """

    command: Sequence[str]
    settings: str | None = field(repr=False)
    at: float = field(default_factory=time.monotonic)
    ended: str | None = None


@dataclass(eq=False, repr=False)
class Worker:
    """A worker process as its supervisor sees it: its ``number``, its ``admin`` port, and the states that it has sent.

    listener: the socket of that port. Open until the process has ended: no other one can get the port before.
    headers: the headers that its admin port requires.
    accepted: what its successor gets if the worker dies. None for a worker that reads the configuration itself, until
    it is ready.
    last_sign: when the worker last sent anything (``time.monotonic``), None before the first time.
    grace: the seconds that its drain may take, 0 before it drains.
    heard_at: when it last sent that its list of changes is another (``time.monotonic``). 0: it does not send it.
    passes_on: what is set by the order of a signal that the worker got, and that is for the supervisor.
    """

    number: int
    process: asyncio.subprocess.Process
    channel: InitVar[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    listener: socket.socket
    secret: InitVar[str]
    command: Sequence[str]
    accepted: Accepted | None
    version: str = field(default="unknown", init=False)
    started: float = field(default_factory=time.monotonic, init=False)
    last_sign: float | None = field(default=None, init=False)
    grace: float = field(default=0.0, init=False)
    heard_at: float = field(default=0.0, init=False)
    passes_on: Mapping[str, asyncio.Event] = field(default_factory=dict, init=False)
    ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    is_stopping: bool = field(default=False, init=False)
    _ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _reloaded: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self, channel: tuple[asyncio.StreamReader, asyncio.StreamWriter], secret: str) -> None:
        self.admin = f"http://{_LOOPBACK}:{self.listener.getsockname()[1]}"
        self.headers = {worker_channel.FROM_SUPERVISOR: secret}
        reader, self._writer = channel
        self._watching = asyncio.create_task(self._watch(reader), name=f"worker-{self.number}")

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set() and not self.is_stopping and not self.ended.is_set()

    def outcome(self) -> str:
        code = self.process.returncode
        if self.was_stuck():
            return f"exit code {code}: its event loop was stuck"
        if code is None or code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):  # most real-time signals have no name
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"

    def was_stuck(self) -> bool:
        """Return whether it has ended because its event loop was stuck."""
        return self.process.returncode == STUCK

    def silence(self) -> float:
        """Return the seconds since it last sent anything, or since its start."""
        return time.monotonic() - (self.last_sign if self.last_sign is not None else self.started)

    async def until_ready(self, timeout: float) -> None:
        """Wait until it serves. Raises ``WorkerFailed`` if it ends before, or takes longer than ``timeout`` seconds."""
        await self._until(self._ready, "ready", timeout)

    async def reload(self, timeout: float) -> None:
        """Make it reload the configuration, and wait until that is over. Raises ``WorkerFailed`` as ``until_ready``."""
        self._reloaded.clear()
        self._order(worker_channel.RELOAD)
        await self._until(self._reloaded, "reloaded", timeout)

    async def _until(self, event: asyncio.Event, state: str, timeout: float) -> None:
        await first_of(event, self.ended, timeout=timeout)
        if event.is_set():
            return
        if self.ended.is_set():
            code = self.process.returncode
            code = code if code is not None and code >= 0 else 1  # 1 if a signal ended the process
            raise WorkerFailed(f"worker {self.number} ended before it was {state}: {self.outcome()}", code)
        raise WorkerFailed(f"worker {self.number} was not {state} within {timeout:g} s", 1)

    def stop(self) -> None:
        """Make it drain and end."""
        self.is_stopping = True
        self._order(worker_channel.STOP)

    def force_stop(self) -> None:
        """Make it reset what is in flight and end."""
        self._order(worker_channel.FORCE)

    def nginx_asks(self, name: str) -> None:
        """Tell it that the nginx of this name has asked for changes: each worker judges which nginx is silent."""
        self._order(f"{worker_channel.ASKED} {name}")

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        with suppress(ProcessLookupError):
            self.process.kill()

    def _order(self, order: str) -> None:
        if not self._writer.is_closing():
            self._writer.write(order.encode() + b"\n")

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, ValueError):  # ValueError: a line without an end
            async for line in reader:
                self.last_sign = time.monotonic()
                match line.strip().partition(b"="):
                    case b"READY", _, _:
                        self.accepted = self.accepted or Accepted(self.command, None)
                        self._ready.set()
                        self._reloaded.set()
                    case b"STOPPING", _, _:
                        self.is_stopping = True
                    case worker_channel.GRACE, _, seconds:
                        self.grace = float(seconds)
                    case worker_channel.HEARD, _, _:
                        self.heard_at = self.last_sign
                    case worker_channel.SIGNAL, _, order:
                        if (wanted := self.passes_on.get(order.decode())) is not None:
                            wanted.set()
                    case worker_channel.WORKER_VERSION, _, version:
                        self.version = version.decode()
                    case worker_channel.SETTINGS, _, settings:
                        self.accepted = Accepted(self.command, settings.decode())
        await self.process.wait()
        self._writer.close()
        self.listener.close()
        self.ended.set()


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """The command by which the supervisor starts workers.

    command: how the supervisor was started. Its path may contain a symbolic link.
    arguments: the arguments of a worker, without the argument that marks the process as a worker.
    settings: the settings that the supervisor has read, as text.
    """

    command: Sequence[str]
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    settings: str = field(repr=False)

    def first(self) -> Accepted:
        """Return what the first workers get."""
        return Accepted(resolved(self.command), self.settings)

    async def start(self, number: int, accepted: Accepted | None, public: Sequence[socket.socket]) -> Worker:
        """Start worker ``number``, which listens on ``public`` when it is ready, as a worker has ``accepted``.

        None: it reads the configuration. Then, and if the command is gone, the command is what the link leads to now.
        """
        settings = ended = None
        if accepted is None:
            command: Sequence[str] = await asyncio.to_thread(resolved, self.command)
            logger.info("replacing workers by those of a program: program=%s", command[0])
        else:
            command = await asyncio.to_thread(kept, accepted.command, self.command)
            settings, ended, accepted = accepted.settings, accepted.ended, replace(accepted, command=command)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, ExitStack() as stack:
            admin = stack.enter_context(socket.socket(socket.AF_INET))
            admin.bind((_LOOPBACK, 0))
            secret = secrets.token_urlsafe()
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=worker_channel.LONGEST_LINE)
            stack.callback(writer.close)
            sockets = [listener.fileno() for listener in public]
            assignment = worker_channel.Assignment(
                number, sockets, admin.fileno(), secret, settings, ended, tells_who_asks=True
            )
            writer.write(assignment.line())
            arguments = (*command, *self.arguments, "--as-worker", str(theirs.fileno()))
            inherited = (theirs.fileno(), admin.fileno(), *sockets)
            process = await asyncio.create_subprocess_exec(
                *arguments, stdin=asyncio.subprocess.DEVNULL, pass_fds=inherited, env=dict(self.environment)
            )
            stack.pop_all()
            return Worker(number, process, (reader, writer), admin, secret, command, accepted)


def started_by(script: str, interpreter: str) -> tuple[str, ...]:
    """Return the command by which this process was started, from ``sys.argv[0]`` and ``sys.executable``: links stay."""
    if Path(script).name != "__main__.py" and os.access(script, os.X_OK) and Path(script).is_file():
        return (os.path.abspath(script),)  # noqa: PTH100 - Path.resolve() would follow links
    return (interpreter, "-m", "gateway")


def resolved(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command with what its links lead to now. The interpreter of a virtual environment keeps its name."""
    program, *arguments = command
    path = Path(program)  # an interpreter's name in a virtual environment is a link out of the environment
    return (str(path.parent.resolve() / path.name if arguments else path.resolve()), *arguments)


def kept(used: Sequence[str], command: Sequence[str]) -> Sequence[str]:
    """Return ``used``, or what the links in ``command`` lead to now if it was removed."""
    return used if Path(used[0]).exists() else resolved(command)
